"""The topic `operations`, where workers of this room look for it: schemas/operations.py has it, because links write there too."""

from __future__ import annotations

from schemas.operations import Operation, OperationsReader, OperationsWriter

__all__ = ["Operation", "OperationsReader", "OperationsWriter"]
