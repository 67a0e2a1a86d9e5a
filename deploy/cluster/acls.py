"""Rights and credentials of the cluster, updated to deploy/cluster/access.py: planned first, stale ones revoked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from deploy.cluster.access import Right
from deploy.deadline import wait_until
from schemas.errors import Retryable, UsageError
from schemas.servers.kafka import Cluster, answer

__all__ = ["MECHANISM", "AccessChange", "apply", "credentials", "give", "plan", "rights_on_cluster", "withdraw"]

MECHANISM = "SCRAM-SHA-512"
ITERATIONS = 8192
"""Kafka's default is 4096, which is also its minimum."""

_TIMEOUT = 30.0
_PREFIX = "User:"


@dataclass(frozen=True, slots=True)
class AccessChange:
    """A difference from the declaration; `action` is create or remove."""

    action: str
    principal: str
    what: str


_Key = tuple[str, str, str, str, str, str, str]
"""Principal with its kind, resource, pattern, name, operation, host, ALLOW or DENY."""


def _key(right: Right) -> _Key:
    principal, resource, pattern, name, operation = astuple(right)
    return _PREFIX + principal, resource, pattern, name, operation, "*", "ALLOW"


def _shown(key: _Key) -> str:
    _, resource, pattern, name, operation, host, permission = key
    shown = f"{operation} {resource.lower()} {name}{'…' if pattern == 'PREFIXED' else ''}"
    if host != "*":
        shown += f" from {host}"
    return shown if permission == "ALLOW" else f"not {shown}"


def rights_on_cluster(cluster: Cluster) -> tuple[_Key, ...]:
    """Return every right on the cluster, sorted, including undeclared ones."""
    everything = AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        None,
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = _admin_that_may_look(cluster)
    bindings = _answer(admin.describe_acls(everything, request_timeout=_TIMEOUT), "list its rights")
    return tuple(sorted(_read(binding) for binding in bindings))


def plan(cluster: Cluster, rights: Iterable[Right]) -> tuple[AccessChange, ...]:
    """Return the necessary changes, without making them.

    Undeclared rights are to be removed, whoever granted them: the code is authoritative.
    """
    new, stale = _differences(rights_on_cluster(cluster), rights)
    return _changes(new, stale)


def apply(cluster: Cluster, rights: Collection[Right]) -> tuple[AccessChange, ...]:
    """Grant missing rights, then revoke undeclared ones; return the changes."""
    new, stale = _differences(rights_on_cluster(cluster), rights)
    admin = _admin(cluster)
    if new:
        _answers(admin.create_acls([_binding(key) for key in new], request_timeout=_TIMEOUT), "give rights")
    if stale:
        _answers(admin.delete_acls([_filter(key) for key in stale], request_timeout=_TIMEOUT), "take rights away")
    # The broker answers from its own metadata, which follows the controller's a moment later.
    if (new or stale) and not wait_until(lambda: not any(_differences(rights_on_cluster(cluster), rights)), seconds=30):
        raise Retryable("the rights are not in force after 30 s: see Kafka's log (`xinliu status` names it)")
    return _changes(new, stale)


def credentials(cluster: Cluster) -> frozenset[str]:
    """Return the users that have a SCRAM credential."""
    admin = _admin_that_may_look(cluster)
    return frozenset(_answer(admin.describe_user_scram_credentials(request_timeout=_TIMEOUT), "list its users"))


def give(cluster: Cluster, passwords: Mapping[str, str]) -> None:
    """Set the passwords of these users; open connections stay, and the old password opens no new one."""
    if not passwords:
        return
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    _alter(cluster, [UserScramCredentialUpsertion(user, info, text.encode()) for user, text in passwords.items()])


def withdraw(cluster: Cluster, users: Collection[str]) -> None:
    """Delete the credentials of these users: nobody can connect as them any more."""
    if users:
        _alter(cluster, [UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512) for user in sorted(users)])


def _alter(cluster: Cluster, alterations: list[Any]) -> None:
    admin = _admin(cluster)
    _answers(admin.alter_user_scram_credentials(alterations, request_timeout=_TIMEOUT), "change credentials")
    given = {a.user for a in alterations if isinstance(a, UserScramCredentialUpsertion)}
    taken = {a.user for a in alterations} - given

    def done() -> bool:
        users = credentials(cluster)
        return given <= users and not taken & users

    if not wait_until(done, seconds=30):
        raise Retryable("the credentials are not in force after 30 s: see Kafka's log (`xinliu status` names it)")


def _differences(known: Iterable[_Key], rights: Iterable[Right]) -> tuple[list[_Key], list[_Key]]:
    there, declared = set(known), {_key(right) for right in rights}
    return sorted(declared - there), sorted(there - declared)


def _changes(new: Iterable[_Key], stale: Iterable[_Key]) -> tuple[AccessChange, ...]:
    return tuple(
        AccessChange(action, key[0].removeprefix(_PREFIX), _shown(key))
        for action, keys in (("create", new), ("remove", stale))
        for key in keys
    )


_RESOURCES = {
    "TOPIC": ResourceType.TOPIC,
    "GROUP": ResourceType.GROUP,
    "CLUSTER": ResourceType.BROKER,
    "TRANSACTIONAL_ID": ResourceType.TRANSACTIONAL_ID,
}
_NAMES = {kind: name for name, kind in _RESOURCES.items()}


def _read(binding: Any) -> _Key:
    return (
        binding.principal,
        _NAMES.get(binding.restype, binding.restype.name),
        binding.resource_pattern_type.name,
        binding.name,
        binding.operation.name,
        binding.host,
        binding.permission_type.name,
    )


def _parts(key: _Key) -> tuple[Any, ...]:
    principal, resource, pattern, name, operation, host, permission = key
    return (
        _RESOURCES[resource],
        name,
        ResourcePatternType[pattern],
        principal,
        host,
        AclOperation[operation],
        AclPermissionType[permission],
    )


def _binding(key: _Key) -> Any:
    return AclBinding(*_parts(key))


def _filter(key: _Key) -> Any:
    return AclBindingFilter(*_parts(key))


def _admin_that_may_look(cluster: Cluster) -> AdminClient:
    # Checked first: confluent-kafka 2.16 returns an empty list to a client that may not list rights, as though there
    # were none, and crashes with a corrupt heap if a client may not list users.
    admin = _admin(cluster)
    operations = _answer(admin.describe_cluster(include_authorized_operations=True), "say who may look")
    if AclOperation.DESCRIBE not in (operations.authorized_operations or ()):
        raise cluster.failure(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
    return admin


def _admin(cluster: Cluster) -> AdminClient:
    """Return an admin client. Keep a reference to it: a discarded one cancels its requests."""
    return AdminClient(cluster.client({"socket.timeout.ms": 10_000, "log_level": 2}))


def _answers(futures: Mapping[Any, Any], what: str) -> None:
    for future in futures.values():
        _answer(future, what)


def _answer(future: Any, what: str) -> Any:
    try:
        return answer(future, _TIMEOUT + 5)
    except KafkaException as error:
        reason = error.args[0]
        if reason.retriable() or reason.code() < 0:  # the broker's own answers are above zero
            raise Retryable(f"Kafka does not answer: {reason.str()}") from error
        raise UsageError(f"Kafka refused to {what}: {reason.str()}") from error
