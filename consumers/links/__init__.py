"""Push links: what this province says on its own topics, carried to another province's cluster, whole and in order.

A link keeps no position. Every message that it writes bears its place in the origin's log (header ORIGIN), so the last
record of a far partition says where to go on: position and effect are one thing, and no crash can part them.
"""

from consumers.links.link import Link, LinkState
from consumers.links.metrics import LinkMetrics

__all__ = ["Link", "LinkMetrics", "LinkState"]
