"""Command `xinliu rules`: all rules on statements, or one rule with the example that breaks it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError
from schemas.rules import RULES, Rule
from schemas.rules.examples import EXAMPLES

__all__ = ["mount", "rules"]


def rules(
    code: Annotated[str | None, typer.Argument(help="One rule, by its code; all where none is named.")] = None,
    severity: Annotated[
        Literal["refuse", "flag"] | None, typer.Option(help="Only rules that refuse a statement, or that flag it.")
    ] = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List the rules on statements: code, severity, text, source, example."""
    if code is not None:
        _explain(_rule(code), as_json)
        return
    chosen = [rule for rule in RULES if severity in (None, rule.severity)]
    if as_json:
        print(json.dumps([_plain(rule) for rule in chosen], ensure_ascii=False, indent=1))
        return
    rows = [
        (
            rule.code,
            rule.severity,
            f"{escape(rule.text_zh)}\n[dim]{escape(rule.text_en)}[/dim]",
            escape(rule.source),
            escape(rule.example),
        )
        for rule in chosen
    ]
    titles = ("code", "severity", "text", "source", "example")
    print_table(Console(), titles, rows, least=("source",), text=("text", "source", "example"), wide=wide)


def _rule(code: str) -> Rule:
    found = {rule.code: rule for rule in RULES}.get(code.upper())
    if found is None:
        near = [rule.code for rule in RULES if code.upper() in rule.code or rule.code in code.upper()]
        raise UsageError(
            f"there is no rule {code!r}: " + (f"is it {', '.join(near)}?" if near else "see `xinliu rules`")
        )
    return found


def _plain(rule: Rule) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "code": rule.code,
        "severity": rule.severity,
        "text_zh": rule.text_zh,
        "text_en": rule.text_en,
        "source": rule.source,
        "example": rule.example,
    }
    example = EXAMPLES.get(rule.code)
    if example is not None:
        plain["breaking"] = {
            "kind": example.kind,
            "change": dict(example.change),
            "told_of": example.told_of,
            "also": sorted(example.also),
        }
    return plain


_SEVERITY = {
    "refuse": "refuse: the statement goes to the quarantine, the source is told, and the entity is 待核 meanwhile",
    "flag": "flag: the statement is accepted, and the source is told",
}


def _explain(rule: Rule, as_json: bool) -> None:
    plain = _plain(rule)
    if as_json:
        print(json.dumps(plain, ensure_ascii=False, indent=1))
        return
    console = Console()
    console.print(f"[bold]{rule.code}[/bold]  {escape(rule.text_zh)}\n{escape(rule.text_en)}", highlight=False)
    console.print(
        _SEVERITY[rule.severity], f"source: {rule.source}", f"example: {rule.example}", sep="\n", markup=False
    )
    breaking = plain.get("breaking")
    if breaking is not None:
        change = json.dumps(breaking["change"], ensure_ascii=False)
        also = f"; with it come {', '.join(breaking['also'])}" if breaking["also"] else ""
        told = f"a good {breaking['kind']} with {change} breaks it, told of {breaking['told_of']}{also}"
        console.print(told, markup=False, highlight=False)


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(rules)
