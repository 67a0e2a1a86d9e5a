"""Which refusals a person may waive for one statement: those of which a source says that real data break them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OVERRIDABLE"]

OVERRIDABLE: Mapping[str, str] = {
    "USCC_CHECK_DIGIT": "firms with a wrong check digit exist (91350211M0000XUF46); characters 9-17 have a check of their own",
}
"""Code of a rule → why a reviewer may let a statement through that breaks it. Every other refusal is either certain or a
matter of the catalogue: mend the statement, or the catalogue, and redrive."""
