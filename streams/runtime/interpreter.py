"""How the interpreter is set in a process that works on batches: workers, and those of a rebuild (decision 021)."""

from __future__ import annotations

import gc
import sys

__all__ = ["tune_interpreter"]


def tune_interpreter(interval: float = 0.0005) -> None:
    """Set it for threads that work on batches beside each other; everything has been imported by then.

    A thread that comes back from a server waits so many seconds at most for another one's Python: the default lets each
    of them go on for 5 ms, and a transaction comes back from PostgreSQL thirty times. Where nobody waits for a single
    batch, more is done with fewer changes.
    """
    sys.setswitchinterval(interval)
    # Batches are hundreds of thousands of objects without cycles: walked through again and again while they are made, they
    # took a third of intake's time. What was imported never goes away.
    gc.collect()
    gc.freeze()
    gc.set_threshold(500_000, 20, 20)
