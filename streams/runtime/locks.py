"""Advisory locks by which one worker of several does what only one may do,
each held for as long as that worker does it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["AUDIT", "CASES", "LEADERS", "RELAY"]

RELAY = 0x78696E6C6975  # "xinliu"
AUDIT = 0x78696E6C_61756474
CASES = 0x63617365  # "case"

LEADERS: Mapping[int, str] = {RELAY: "relay", AUDIT: "audit", CASES: "cases"}
"""Those that some worker always has where a generation serves, by what they are called."""
