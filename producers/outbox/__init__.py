"""The transactional outbox: a department writes a statement in its own transaction; the relay publishes it later.

`Outbox` writes; `xinliu outbox relay` publishes committed rows. docs/outbox.md shows both, as one example.
"""

from producers.outbox.outbox import Outbox
from producers.outbox.sent import SentStatement, told

__all__ = ["Outbox", "SentStatement", "told"]
