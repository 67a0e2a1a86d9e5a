"""A cluster and as whom it is reached: no client begins anywhere else, and no secret is shown."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from schemas.errors import Retryable, UsageError
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster, answer
from streams.runtime.app import StreamApp
from tests.unit.test_imports import DOORS, ROOT

SECURITY = """\
# of the department tax
security.protocol=SASL_SSL
sasl.mechanisms = SCRAM-SHA-512
sasl.username=department-tax
sasl.password=s3cret=with=signs

"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A properties file as `xinliu access issue` writes it."""
    path = tmp_path / "tax.properties"
    path.write_text(SECURITY, encoding="utf-8")
    return path


def test_no_client_is_made_without_the_clusters_settings() -> None:
    # The name by which librdkafka, and the one by which Faust and aiokafka are told where the brokers are.
    words = ("bootstrap.servers", "bootstrap_servers", "broker=")
    found = {
        (str(path.relative_to(ROOT)), word)
        for room in DOORS
        for path in (ROOT / room).rglob("*.py")
        for word in words
        if word in path.read_text(encoding="utf-8")
    }
    allowed = {
        ("schemas/servers/kafka.py", "bootstrap.servers"),
        ("streams/runtime/app.py", "broker="),
        ("deploy/cluster/quotas.py", "bootstrap_servers"),
        ("deploy/local/kafka.py", "bootstrap.servers"),  # controller.quorum.bootstrap.servers, the broker's own
    }
    assert found == allowed


def test_a_properties_file_becomes_a_clients_settings(file: Path) -> None:
    cluster = Cluster.from_file("kafka.example:9093", file)
    assert cluster.client({"acks": "all"}) == {
        "bootstrap.servers": "kafka.example:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "department-tax",
        "sasl.password": "s3cret=with=signs",
        "acks": "all",
    }


def test_no_secret_is_shown(file: Path) -> None:
    cluster = Cluster.from_file("kafka.example:9093", file)
    assert "s3cret" not in f"{cluster} {cluster!r} {cluster.shown()} {cluster.model_dump()} {cluster.model_dump_json()}"
    assert cluster.shown()["sasl.username"] == "department-tax"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sasl.password", "line 1 is no name=value"),
        ("acks=0", "acks is no security setting"),
        ("bootstrap.servers=elsewhere:9092", "bootstrap.servers is no security setting"),
    ],
)
def test_a_file_with_something_else_is_refused(file: Path, text: str, told: str) -> None:
    file.write_text(f"{text}\nsasl.password=s3cret\n", encoding="utf-8")
    with pytest.raises(UsageError, match=told) as caught:
        Cluster.from_file("kafka.example:9093", file)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the Kafka security settings"):
        Cluster.from_file("kafka.example:9093", tmp_path / "none")
    security = {"security.protocol": SecretStr("SSL"), "ssl.ca.location": SecretStr(str(tmp_path / "ca.pem"))}
    with pytest.raises(UsageError, match=r"which ssl\.ca\.location of Kafka's security settings names, is not there"):
        Cluster(servers="kafka.example:9093", security=security).client({})


def test_without_settings_everything_is_as_it_was() -> None:
    cluster = Cluster.of("127.0.0.1:9092")
    assert cluster.client({}) == {"bootstrap.servers": "127.0.0.1:9092"}
    assert (cluster.protocol, cluster.tls(), cluster.shown()) == ("PLAINTEXT", None, {})
    app = StreamApp("test", kafka=cluster, first_offset="earliest")
    assert app.conf.broker_credentials is None


def test_faust_is_told_who_it_is(file: Path) -> None:
    app = StreamApp("test", kafka=Cluster.from_file("kafka.example:9093", file), first_offset="earliest")
    credentials = app.conf.broker_credentials
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (credentials.username, credentials.password) == ("department-tax", "s3cret=with=signs")
    assert credentials.ssl_context.check_hostname
    assert "s3cret" not in repr(app.conf.broker_credentials)


def test_faust_refuses_what_it_cannot_speak(file: Path) -> None:
    file.write_text(SECURITY.replace("SCRAM-SHA-512", "GSSAPI"), encoding="utf-8")
    with pytest.raises(UsageError, match="the workers speak"):
        StreamApp("test", kafka=Cluster.from_file("kafka.example:9093", file), first_offset="earliest")


def test_a_broker_that_does_not_even_answer_with_an_error_is_asked_again() -> None:
    silent: Future[int] = Future()
    with pytest.raises(Retryable, match="nothing came within"):
        answer(silent, 0.01)
    silent.set_result(5)
    assert answer(silent, 0.01) == 5


def test_only_a_local_stack_plays_several_parts(tmp_path: Path) -> None:
    plain = {"province": "beijing", "kafka": "127.0.0.1:9092", "registry": "http://127.0.0.1", "database": "dbname=x"}
    alone = Connection.model_validate(plain)
    assert alone.acting("view") is alone
    stack = Connection.model_validate({**plain, "principals": str(tmp_path)})
    with pytest.raises(UsageError, match="no principal 'view'"):
        stack.acting("view")
    (tmp_path / "view.json").write_text(alone.model_copy(update={"province": "hebei"}).model_dump_json())
    with pytest.raises(ValidationError):
        Connection.model_validate({**plain, "password": "typo"})
    (tmp_path / "view.json").write_text("{half")
    with pytest.raises(UsageError, match="is damaged"):
        stack.acting("view")
