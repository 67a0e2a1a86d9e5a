"""The sample: invented files of every department in two waves, with good and bad rows, the same every time.

They are generated, not shipped: their dates must be within the last years, and a manifest gives the expected result of
each file. No name, number or code belongs to a real enterprise.
"""

from producers.sample.files import write_sample

__all__ = ["write_sample"]
