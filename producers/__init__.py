"""A department's programs: they publish its records and read the receipts. This package imports schemas only."""

from producers.changes.publishing import ChangePublisher
from producers.errors import NotDelivered, NotVisibleYet, NotVouched, StatementRejected
from producers.publisher import Publisher, PublisherConfig
from producers.statements.registration import Registration
from schemas.records.refused_row import RowRefusal
from schemas.records.registration import FormerName
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = [
    "ChangePublisher",
    "Cluster",
    "FormerName",
    "NotDelivered",
    "NotVisibleYet",
    "NotVouched",
    "Publisher",
    "PublisherConfig",
    "Registration",
    "RegistryAddress",
    "RowRefusal",
    "StatementRejected",
]
