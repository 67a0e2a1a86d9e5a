"""A department's side: publishing records and reading what became of them. Imports schemas only."""

from producers.changing import ChangePublisher
from producers.errors import NotDelivered, NotVisibleYet, StatementRejected
from producers.publisher import Publisher, PublisherConfig
from producers.registrations import Registration
from schemas.cluster import Cluster
from schemas.registration import FormerName

__all__ = [
    "ChangePublisher",
    "Cluster",
    "FormerName",
    "NotDelivered",
    "NotVisibleYet",
    "Publisher",
    "PublisherConfig",
    "Registration",
    "StatementRejected",
]
