"""The transactional outbox: a department's statement is written in the department's own transaction, and told later.

`Outbox` writes; `xinliu outbox relay` publishes what was committed. docs/outbox.md shows both, as one example.
"""

from producers.outbox.outbox import Outbox
from producers.outbox.sent import SentStatement, told

__all__ = ["Outbox", "SentStatement", "told"]
