"""Push links: they copy this province's own topics to another province's cluster, completely and in order.

A link stores no position. Every message that it writes has its place in the origin's log (header ORIGIN), so the last
record of a far partition gives the place to go on from: position and effect are one write, and no crash can separate
them.
"""

from consumers.links.link import Link, LinkState
from consumers.links.metrics import LinkMetrics

__all__ = ["Link", "LinkMetrics", "LinkState"]
