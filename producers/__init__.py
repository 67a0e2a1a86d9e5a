"""A department's side: publishing records and reading what became of them. Imports schemas only."""

from producers.changing import ChangePublisher
from producers.errors import NotDelivered, NotVisibleYet, NotVouched, StatementRejected
from producers.publisher import Publisher, PublisherConfig
from producers.registrations import Registration
from schemas.cluster import Cluster
from schemas.refusal import Refusal
from schemas.registration import FormerName
from schemas.registry_address import RegistryAddress

__all__ = [
    "ChangePublisher",
    "Cluster",
    "FormerName",
    "NotDelivered",
    "NotVisibleYet",
    "NotVouched",
    "Publisher",
    "PublisherConfig",
    "Refusal",
    "Registration",
    "RegistryAddress",
    "StatementRejected",
]
