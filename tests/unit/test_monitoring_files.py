"""Alert rules, dashboard and example configuration, held against the one list of metrics; and against promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from consumers.links.metrics import LINK_METRICS
from deploy.local.layout import WORKERS, StackLayout
from streams.monitoring.endpoint import Outside
from streams.monitoring.metrics import METRICS as WORKERS_METRICS
from streams.monitoring.metrics import PROCESS_METRICS, Kind

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
ALERTS_TEST = ROOT / "tests" / "data" / "alerts_test.yml"
DOCUMENT = ROOT / "docs" / "monitoring.md"

METRICS = (*WORKERS_METRICS, *LINK_METRICS)

OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus itself adds to everything it scrapes."""

KNOWN: dict[str, frozenset[str]] = {
    **{sample: frozenset(m.labels) for m in METRICS for sample in m.series},
    **{f"{m.name}_bucket": frozenset({*m.labels, "le"}) for m in METRICS if m.kind is Kind.HISTOGRAM},
    **dict.fromkeys(PROCESS_METRICS, frozenset()),
    "up": frozenset(),
}
"""Every sample that a query may ask for, and its own labels."""

NOT_SHOWN: dict[str, str] = {
    "process_max_fds": "a constant",
    "process_start_time_seconds": "the age of a process; `up` and restarts by the supervisor tell more",
    "process_virtual_memory_bytes": "says nothing on 64 bits",
}
"""What no rule and no panel uses, and why."""


def rules() -> list[dict[str, Any]]:
    """Return all alert rules."""
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Return all panels that ask for something."""
    return [p for p in json.loads((FOLDER / "dashboard.json").read_text())["panels"] if p["type"] != "row"]


def expressions() -> list[tuple[str, str]]:
    """Return where each expression stands, and the expression with Grafana's variables filled in."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for panel in panels():
        found += [(panel["title"], target["expr"].replace("$__rate_interval", "5m")) for target in panel["targets"]]
    return found


def parts(node: Any) -> Iterator[Any]:
    """Yield a parsed expression and everything within it."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from parts(inner)
    for inner in getattr(node, "args", None) or ():
        yield from parts(inner)


def asked(expression: str) -> dict[str, set[str]]:
    """Return the metrics that an expression names, each with the labels that it selects by."""
    found: dict[str, set[str]] = {}
    for node in parts(promql.parse(expression)):
        if isinstance(node, promql.VectorSelector):
            assert node.name, f"a selector without a name: {expression}"
            found.setdefault(node.name, set()).update(matcher.name for matcher in node.matchers.matchers)
    assert found, expression
    return found


def grouped(expression: str) -> set[str]:
    """Return the labels that an expression groups or matches by."""
    found: set[str] = set()
    for node in parts(promql.parse(expression)):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql.AggregateExpr) and modifier is not None:
            found.update(modifier.labels)
        elif isinstance(node, promql.BinaryExpr) and modifier is not None and modifier.matching is not None:
            found.update(modifier.matching.labels)
    return found


def test_the_parser_sees_names_and_labels_everywhere() -> None:
    expression = 'sum by (job, a) (rate(one{b="c"}[5m])) / on (d) max(two offset 1h) > 3 and absent(three{e=~"f"}) == 0'
    assert asked(expression) == {"one": {"b"}, "two": set(), "three": {"e"}}
    assert grouped(expression) == {"job", "a", "d"}
    assert asked("histogram_quantile(0.9, sum by (le) (rate(four[5m])))") == {"four": set()}
    assert grouped("histogram_quantile(0.9, sum by (le) (rate(four[5m])))") == {"le"}


@pytest.mark.parametrize(("place", "expression"), expressions())
def test_every_expression_uses_the_list_and_its_labels(place: str, expression: str) -> None:
    metrics = asked(expression)
    assert metrics.keys() <= KNOWN.keys(), place
    for name, labels in metrics.items():
        assert labels <= KNOWN[name] | OF_PROMETHEUS, (place, name)
    allowed = set().union(*(KNOWN[name] for name in metrics)) | OF_PROMETHEUS
    assert grouped(expression) <= allowed, place


def test_every_metric_is_used_or_is_said_not_to_be() -> None:
    used = {name for _, expression in expressions() for name in asked(expression)}
    wanted = {m.name: set(m.series) for m in METRICS} | {name: {name} for name in PROCESS_METRICS}
    assert {name for name, series in wanted.items() if not series & used} == NOT_SHOWN.keys()


def test_what_is_named_of_the_process_is_there() -> None:
    text = Outside("intake", ()).metrics()[0].decode()
    assert set(re.findall(r"^(process_\w+) ", text, re.MULTILINE)) == set(PROCESS_METRICS)


def test_rules_have_the_shape_that_operators_rely_on() -> None:
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Xinliu[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary"}
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        aggregated = isinstance(promql.parse(rule["expr"]), promql.BinaryExpr) and grouped(rule["expr"])
        kept = (
            grouped(rule["expr"])
            if aggregated
            else set().union(*(KNOWN[n] for n in asked(rule["expr"]))) | OF_PROMETHEUS
        )
        assert used <= kept, rule["alert"]
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_every_alert_is_explained_and_tried() -> None:
    names = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    explained = dict(re.findall(r"^\| `(Xinliu\w+)` \| (\w+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert explained == names
    cases = [
        case for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"] for case in test.get("alert_rule_test", ())
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names.keys()


def test_the_dashboard_loads_where_the_data_source_has_any_name() -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "department"}
    every = json.dumps(dashboard)
    assert set(re.findall(r'"uid": "([^"]+)"', every)) == {"${datasource}", "xinliu"}
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]}
    assert len(places) == len(identifiers), "no panel lies on another"
    for panel in panels():
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_example_scrapes_the_default_stack(tmp_path: Path) -> None:
    example = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    layout = StackLayout("default", tmp_path / "default")
    layout.prepare()
    assert {job["job_name"]: job["static_configs"][0]["targets"] for job in example["scrape_configs"]} == {
        f"xinliu-{worker}": [f"127.0.0.1:{layout.ports.metrics(worker)}"] for worker in WORKERS
    }
    assert all((FOLDER / name).exists() for name in example["rule_files"])


def promtool() -> str | None:
    """Return promtool's path, if it is here: `make promtool` puts it beside Python, where Go is at hand."""
    beside = Path(sys.executable).parent / "promtool"
    return str(beside) if beside.exists() else shutil.which("promtool")


@pytest.mark.skipif(promtool() is None, reason="no promtool here; `make promtool` builds it, where Go is at hand")
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "deploy/monitoring/alerts.yml"),
        ("check", "config", "deploy/monitoring/prometheus.yml"),
        ("test", "rules", "tests/data/alerts_test.yml"),
        ("check", "metrics"),
    ],
)
def test_promtool_finds_nothing_wrong(words: tuple[str, ...]) -> None:
    tool = promtool()
    assert tool is not None
    for worker in WORKERS if words[-1] == "metrics" else ("",):
        shown = Outside(worker, ("kafka",)).metrics()[0].decode() if worker else ""
        done = subprocess.run([tool, *words], cwd=ROOT, input=shown, capture_output=True, text=True, check=False)
        assert (done.returncode, "FAILED" in done.stdout) == (0, False), done.stdout + done.stderr
