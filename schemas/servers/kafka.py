"""A Kafka cluster and the principal of its clients: the only source of client settings.

Every client is made from `Cluster.client` (confluent-kafka) or `Cluster.tls` and `Cluster.security` (Faust), so that
none can forget encryption or credentials; tests/unit/test_cluster.py looks for others.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import KafkaError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from schemas.errors import Retryable, UsageError, XinliuError

__all__ = ["Cluster", "answer"]

T = TypeVar("T")

_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_SHOWN = ("security.protocol", "sasl.mechanism", "sasl.username", "ssl.ca.location")


class Cluster(BaseModel):
    """Bootstrap servers and the security settings of one principal, by librdkafka's names.

    >>> cluster = Cluster.of("127.0.0.1:9092")
    >>> cluster.client({"acks": "all"})
    {'bootstrap.servers': '127.0.0.1:9092', 'acks': 'all'}
    >>> print(cluster)
    127.0.0.1:9092
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: str
    """host:port, comma-separated."""
    security: Mapping[str, SecretStr] = Field(default_factory=dict)
    """security.*, sasl.* and ssl.*; empty if the cluster does not authenticate."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"servers": value} if isinstance(value, str) else value

    @field_validator("security")
    @classmethod
    def _only_security(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        wrong = sorted(name for name in value if not name.startswith(("security.", "sasl.", "ssl.")))
        if wrong:
            raise ValueError(f"{wrong[0]} is no security setting of librdkafka (security.*, sasl.*, ssl.*)")
        # librdkafka knows both names; ours is the second.
        return {name.replace("sasl.mechanisms", "sasl.mechanism"): text for name, text in value.items()}

    @classmethod
    def of(cls, servers: Cluster | str) -> Cluster:
        """Return the cluster; servers alone give a cluster without authentication."""
        return servers if isinstance(servers, cls) else cls(servers=str(servers))

    @classmethod
    def from_file(cls, servers: str, file: Path) -> Cluster:
        """Return the cluster with the security settings of a properties file: lines of name=value.

        Raises UsageError if the file cannot be read or contains something else; the message never contains values.
        """
        security: dict[str, SecretStr] = {}
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the Kafka security settings {file}: {type(error).__name__}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, separator, value = line.partition("=")
            if not separator:
                raise UsageError(f"{file} line {number} is no name=value")
            security[name.strip()] = SecretStr(value.strip())
        try:
            return cls(servers=servers, security=security)
        except ValueError as error:
            raise UsageError(f"{file}: {str(error).splitlines()[2].strip()}") from None

    def client(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a confluent-kafka client: address, credentials, and these settings.

        Raises UsageError if a file named in the security settings is missing.
        """
        for name in _FILES:
            file = self.setting(name)
            if file not in (None, "probe") and not Path(str(file)).exists():
                raise UsageError(f"{file}, which {name} of Kafka's security settings names, is not there")
        known = {name: text.get_secret_value() for name, text in self.security.items()}
        return {"bootstrap.servers": self.servers, **known, **settings}

    def reader(self, principal: str, purpose: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the configuration of a consumer with manual assignment: it joins no group and commits nothing.

        librdkafka requires a group name all the same; it begins with the authenticated principal, or with `principal`
        if the cluster does not authenticate.
        """
        return self.client(
            {
                "group.id": f"{self.setting('sasl.username') or principal}.{purpose}-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                "log_level": 2,
                **(settings or {}),
            }
        )

    def setting(self, name: str) -> str | None:
        """Return one security setting, None if it is not set."""
        text = self.security.get(name)
        return None if text is None else text.get_secret_value()

    @property
    def protocol(self) -> str:
        """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return (self.setting("security.protocol") or "PLAINTEXT").upper()

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for clients other than librdkafka's; None if the cluster does not use TLS.

        Raises UsageError if one of its files cannot be read.
        """
        if self.protocol not in ("SSL", "SASL_SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.setting("ssl.ca.location"))
            certificate = self.setting("ssl.certificate.location")
            if certificate:
                context.load_cert_chain(certificate, self.setting("ssl.key.location"), self.setting("ssl.key.password"))
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                f"the TLS files of Kafka cannot be used: {error.strerror or type(error).__name__}"
            ) from None
        if self.setting("ssl.endpoint.identification.algorithm") == "none":
            context.check_hostname = False
        return context

    def forbids(self, error: KafkaError) -> bool:
        """Return whether the broker has authenticated this client and refuses the request; a retry would not help."""
        return error.code() in _FORBIDDEN

    def failure(self, error: KafkaError) -> XinliuError:
        """Return the error to raise for a client's error: UsageError if the broker refuses, else Retryable."""
        user = self.setting("sasl.username")
        if self.forbids(error):
            return UsageError(
                f"Kafka does not let {user or 'anybody'} do that ({error.str()}):"
                " see `xinliu access show`, and whose credentials XINLIU_KAFKA_SECURITY names"
            )
        # librdkafka distinguishes a wrong password from a broker that is down only in its log.
        doubt = f" {user}, or does not take that name and password" if user else ""
        return Retryable(f"Kafka does not answer{doubt}: {error.str()}", server="kafka")

    def shown(self) -> dict[str, str]:
        """Return the security settings without secrets, for display."""
        return {name: value for name in _SHOWN if (value := self.setting(name)) is not None}

    def __str__(self) -> str:
        """Return the address, never the credentials."""
        return self.servers


def answer(future: Future[T], seconds: float) -> T:
    """Return the result of a broker client's future. Raises Retryable if neither result nor error came in time.

    A broker that freezes in the middle of an answer keeps librdkafka waiting beyond its time-out.
    """
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise Retryable(f"Kafka does not answer: nothing came within {seconds:.0f} s", server="kafka") from error
