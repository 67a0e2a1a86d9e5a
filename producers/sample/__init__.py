"""Made-up files to try everything with: two waves from every department, good rows and bad ones, the same every time.

Generated, not shipped as files: the dates must lie within the last years of whoever runs it, and a manifest says what
to expect of each file. No name, number or code belongs to a real enterprise.
"""

from producers.sample.files import write_sample

__all__ = ["write_sample"]
