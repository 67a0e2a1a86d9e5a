"""A department's side: publishing records and reading what became of them. Imports schemas only."""

from producers.changing import ChangePublisher
from producers.errors import NotDelivered, NotVisibleYet, StatementRejected
from producers.publisher import Publisher, PublisherConfig
from schemas.cluster import Cluster

__all__ = [
    "ChangePublisher",
    "Cluster",
    "NotDelivered",
    "NotVisibleYet",
    "Publisher",
    "PublisherConfig",
    "StatementRejected",
]
