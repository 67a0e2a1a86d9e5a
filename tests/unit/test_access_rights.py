"""Who may do what, as declared: the sentences that the rights must make true."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cluster import access, topics
from deploy.cluster.access import Right, permits
from deploy.people import people_here
from deploy.settings import Settings
from schemas import catalogue
from schemas.errors import UsageError
from schemas.store import roles
from schemas.store.sql_files import sql

CATALOGUE = catalogue.load()
RIGHTS = access.wanted(CATALOGUE, "beijing")
DEPARTMENTS = CATALOGUE.departments("beijing")
TOPICS = [topic.name for topic in topics.wanted(CATALOGUE, "beijing")]


def those_who(operation: str, topic: str) -> set[str]:
    """Return the principals that may do that with a topic."""
    return {who for who in access.principals(CATALOGUE, "beijing") if permits(RIGHTS, who, "TOPIC", topic, operation)}


def test_a_department_alone_writes_its_topic_and_reads_its_receipts() -> None:
    for department in DEPARTMENTS:
        who = access.department_principal(department.key)
        assert those_who("WRITE", department.records_topic) == {who}
        assert those_who("READ", department.records_topic) == {"intake"}
        assert those_who("READ", department.receipts_topic) == {who}
        assert those_who("WRITE", department.receipts_topic) == {"view"}
        assert {t for t in TOPICS if permits(RIGHTS, who, "TOPIC", t, "DESCRIBE")} == {
            department.records_topic,
            department.receipts_topic,
        }


def test_the_log_of_truth_has_one_writer_and_one_eraser() -> None:
    assert those_who("WRITE", "accepted") == {"intake", "view"}, "the view's relay writes tombstones there"
    assert those_who("WRITE", "quarantine") == {"intake"}
    assert those_who("READ", "accepted") == {"view", "operator", "steward"}
    assert those_who("READ", "quarantine") == {"intake", "view", "operator", "steward"}
    assert those_who("WRITE", "changes") == {"view"}
    assert those_who("WRITE", "operations") == {"operator"}
    assert those_who("WRITE", "operations.workers") == {"intake", "link", "view"}
    assert those_who("WRITE", "operations.admin") == set(), "the administrator needs no right"
    assert those_who("WRITE", "cases") == those_who("READ", "cases") == {"operator", "view"}


@pytest.mark.parametrize("province", ["beijing", "tianjin", "hebei", "shanxi"])
def test_a_province_alone_speaks_on_its_topics_and_others_only_bring_their_own(province: str) -> None:
    rights = access.wanted(CATALOGUE, province)
    names = access.principals(CATALOGUE, province)
    others = set(CATALOGUE.provinces) - {province}

    def those(operation: str, topic: str) -> set[str]:
        return {who for who in names if permits(rights, who, "TOPIC", topic, operation)}

    own, status = f"exchange.{province}", f"status.{province}"
    assert those("WRITE", own) == those("WRITE", status) == {"view"}
    assert those("READ", own) == those("READ", status) == {"view", "link"}
    assert {who for who in names if permits(rights, who, "TRANSACTIONAL_ID", own, "WRITE")} == {"view"}
    for origin in others:
        brings = f"link-{origin}"
        assert those("WRITE", f"exchange.{origin}") == those("WRITE", f"status.{origin}") == {brings}
        assert those("READ", f"exchange.{origin}") == {brings, "intake", "view"}
        assert those("READ", f"status.{origin}") == {brings, "view"}
        mine = {right.name for right in rights if right.principal == brings and right.resource == "TOPIC"}
        assert mine == {f"exchange.{origin}", f"status.{origin}"}
    assert {who for who in names if who.startswith("link-")} == {f"link-{origin}" for origin in others}


def test_the_report_service_reads_changes_and_nothing_else() -> None:
    assert {t for t in TOPICS if permits(RIGHTS, "report", "TOPIC", t, "DESCRIBE")} == {"changes"}
    assert not any(right.principal == "report" and right.operation == "WRITE" for right in RIGHTS)


def test_nobody_day_by_day_makes_changes_or_deletes_topics() -> None:
    forbidden = {"ALL", "CREATE", "DELETE", "ALTER", "ALTER_CONFIGS", "CLUSTER_ACTION", "IDEMPOTENT_WRITE"}
    assert {right.operation for right in RIGHTS} & forbidden == set()


def test_a_key_that_begins_like_another_opens_no_door_of_it() -> None:
    for who in access.principals(CATALOGUE, "beijing"):
        mine = [r for r in RIGHTS if r.principal == who and r.pattern == "PREFIXED"]
        others = [f"{other}.x" for other in access.principals(CATALOGUE, "beijing") if other != who]
        assert not any(right.covers(right.resource, f"{name}") for right in mine for name in others)
        assert not any(right.covers(right.resource, f"{who}-office.x") for right in mine)


def test_what_one_right_implies() -> None:
    rights = [Right("a", "TOPIC", "LITERAL", "t", "READ"), Right("b", "TOPIC", "LITERAL", "*", "ALTER_CONFIGS")]
    assert permits(rights, "a", "TOPIC", "t", "DESCRIBE")
    assert not permits(rights, "a", "TOPIC", "t", "DESCRIBE_CONFIGS")
    assert not permits(rights, "a", "TOPIC", "t2", "READ")
    assert not permits(rights, "a", "GROUP", "t", "READ")
    assert permits(rights, "b", "TOPIC", "anything", "DESCRIBE_CONFIGS")
    assert not permits(rights, "b", "TOPIC", "anything", "DESCRIBE")


def test_only_departments_and_provinces_are_ever_forgotten() -> None:
    users = [
        "admin",
        "broker",
        "somebody",
        "department-tax",
        "department-dissolved",
        "link",
        "link-hebei",
        "link-jiangsu",
    ]
    gone = access.gone(users, access.principals(CATALOGUE, "beijing"))
    assert gone == {"department-dissolved", "link-jiangsu"}
    with pytest.raises(UsageError, match="has no principal 'department-dissolved'"):
        access.known_principal("department-dissolved", CATALOGUE, "beijing")


def test_every_table_of_a_generation_is_declared() -> None:
    text = sql("generation")
    for word in ("CREATE TABLE ", "CREATE VIEW "):
        for part in text.split(word)[1:]:
            assert part.split()[0] in roles.GENERATION
    shared = {
        part.split()[0].removeprefix("xinliu.")
        for word in ("CREATE TABLE ", "CREATE VIEW ")
        for part in sql("shared").split(word)[1:]
    }
    assert shared == set(roles.SHARED)


def test_a_new_generation_has_its_rights_from_the_same_table() -> None:
    one = roles.wanted({"g1": frozenset({"record", "position"})})
    other = roles.wanted({"g2": frozenset({"record", "position"})})
    assert {(g.role, g.name, g.privilege) for g in one} == {(g.role, g.name, g.privilege) for g in other}
    assert not any(g.role == roles.READER for g in one), "readers see generations through the schema report alone"


def test_an_operator_with_a_principal_of_his_own_may_do_what_an_operator_may_and_is_withdrawn_with_his_name() -> None:
    rights = access.wanted(CATALOGUE, "beijing", ["zhang"])
    may = {(r.resource, r.pattern, r.name, r.operation) for r in rights if r.principal == "operator-zhang"}
    shared = {(r.resource, r.pattern, r.name, r.operation) for r in rights if r.principal == "operator"}
    own = ("TOPIC", "LITERAL", "operations.zhang", "WRITE")
    assert may - shared == {("GROUP", "PREFIXED", "operator-zhang.", "READ"), own}
    assert shared - may == {("TOPIC", "LITERAL", "operations", "WRITE")}, "the shared principal's topic is no person's"
    assert access.known_principal("operator-zhang", CATALOGUE, "beijing", ["zhang"]) == "operator-zhang"
    assert access.gone(["operator-zhang", "operator"], access.principals(CATALOGUE, "beijing")) == {"operator-zhang"}


def test_nobody_else_writes_a_persons_topic_and_whoever_decides_or_audits_reads_them_all() -> None:
    people = ["zhang", "li"]
    rights = access.wanted(CATALOGUE, "beijing", people)
    everybody = access.principals(CATALOGUE, "beijing", people)
    for name in people:
        topic = f"operations.{name}"
        assert {w for w in everybody if permits(rights, w, "TOPIC", topic, "WRITE")} == {f"operator-{name}"}
        readers = {w for w in everybody if permits(rights, w, "TOPIC", topic, "READ")}
        assert readers == {"intake", "view", "steward", "operator", *(f"operator-{one}" for one in people)}
    assert [one.name for one in topics.of_authors(people)] == [
"operations.workers", "operations.steward", "operations.admin", "operations.zhang", "operations.li",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["workers", "admin", "steward"])
def test_nobody_is_called_like_a_topic_that_is_no_persons(name: str) -> None:
    with pytest.raises(UsageError, match="no operator can be called"):
        access.wanted(CATALOGUE, "beijing", [name])


def test_people_are_those_of_the_servers_that_a_command_reaches(tmp_path: Path) -> None:
    """Every command names the same:
    one that knew the environment alone would call the others' topics and rights undeclared."""
    for folder, names in ((tmp_path, "zhang  # 值班\nli\n"), (tmp_path / "stacks" / "trial", "wang\n")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "operators").write_text(names, encoding="utf-8")
    known = Settings(home=tmp_path, kafka="h:1", operators="zhao", stack="trial")
    assert people_here(known, None) == ("li", "zhang", "zhao")
    assert people_here(known, "trial") == ("wang", "zhao")
    assert people_here(known.model_copy(update={"kafka": None}), None) == ("wang", "zhao")
    assert people_here(known, "other", ["operator-qian", "intake"]) == ("qian", "zhao"), (
        "without a file who has one keeps it"
    )
