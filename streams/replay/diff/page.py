"""The page of differences: one self-contained HTML file, to read, send or keep with the decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape as escaped
from typing import Any

from schemas.calendar.clock import time_text
from schemas.texts.harmless import harmless
from streams.replay.diff.differences import Compared, RecordChange, StateChange

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.5 "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem; color: #1c2330; background: #fbfbf9 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #d8d8d0; padding-bottom: .3rem }
p.quiet, td.quiet, small { color: #6b7280 } code { font-size: .88em }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 } th { text-align: left; font-weight: 600; color: #4b5563 }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #e7e7e1; vertical-align: top } th.n, td.n { text-align: right }
.cards { display: flex; flex-wrap: wrap; gap: 1rem } .card { border: 1px solid #d8d8d0; border-radius: .5rem; padding: .7rem 1.1rem;
  background: #fff } .card b { display: block; font-size: 1.5rem }
.harm { border-color: #c0392b } .yes { color: #b42318; font-weight: 600 } .no { color: #1a7f37; font-weight: 600 }
.open { color: #9a6700; font-weight: 600 } del { color: #b42318 } ins { color: #1a7f37; text-decoration: none }
summary { cursor: pointer } details table { margin-left: 1rem; width: auto }
"""
_CLASS = {"有": "yes", "无": "no", "待核": "open", "": ""}
_CHANGES = {
    "APPEARS": "only in the new one", "DISAPPEARS": "only in the old one", "CHANGES": "another content", "STATUS": "another status",
    "REFUSED": "refused by today's rules", "HISTORY": "the same now, another past",
}  # fmt: skip


def page(compared: Compared, turns: Sequence[StateChange], changes: Sequence[RecordChange]) -> str:
    """Return the page; all values of records are escaped as text."""
    now = time_text(datetime.now(UTC))
    title = f"{compared.old} → {compared.new}"
    harmful = [turn for turn in turns if turn.turns or not turn.explained]
    parts = [
        "<!doctype html><html lang='zh'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        f"<title>xinliu replay diff {escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>What changes: {escape(title)}</h1>",
        f"<p class='quiet'>Compared {escape(now)}: {escape(compared.what)}. {compared.old_rows:,} and"
        f" {compared.new_rows:,} rows; {compared.differing:,} of {compared.buckets:,} buckets differ.</p>",
        *(
            f"<p>Only the {side} one has the columns {escape(', '.join(names))}: not compared.</p>"
            for side, names in (("old", compared.only_old), ("new", compared.only_new))
            if names
        ),
        _later(compared),
    ]
    if compared.equal:
        return "".join([*parts, "<p class='no'>Equal: nothing differs.</p></html>\n"])
    parts += [_cards(compared), _summary(compared), _turns(harmful, compared), _changes(changes, compared)]
    return "".join([*parts, "</html>\n"])


def escape(text: str) -> str:
    """Return a text escaped for the page: no markup, no control or invisible characters."""
    return escaped(harmless(text))


def _later(compared: Compared) -> str:
    if not compared.later:
        return ""
    return f"<p>{compared.later:,} records differ only because one has not folded so far yet: not counted.</p>"


def _cards(compared: Compared) -> str:
    cards = [
        f"<div class='card {'harm' if (was, becomes) == ('有', '无') else ''}'>{_word(was)} → {_word(becomes)}"
        f"<b>{n:,}</b><small>entities × domains</small></div>"
        for (was, becomes), n in compared.turned.items()
    ]
    if compared.unexplained:
        cards.append(
            f"<div class='card harm'>counts alone differ<b>{compared.unexplained:,}</b><small>run the audit</small></div>"
        )
    total = sum(n for *_, n in compared.summary)
    cards.append(f"<div class='card'>records<b>{total:,}</b><small>stand differently</small></div>")
    return f"<div class='cards'>{''.join(cards)}</div>"


def _summary(compared: Compared) -> str:
    rows = (
        (_td(domain), _td(department), _td(f"{change}: {_CHANGES[change]}"), f"<td class='n'>{n:,}</td>")
        for domain, department, change, n in compared.summary
    )
    return "<h2>By domain, department and kind of change</h2>" + _tabular(
        ("domain", "department", "change", "records"), rows
    )


def _turns(turns: Sequence[StateChange], compared: Compared) -> str:
    if not turns:
        return ""
    rows = (
        (
            f"<td><code>{escape(turn.uscc)}</code></td>", _td(turn.province), _td(turn.domain), f"<td>{_word(turn.was)}</td>",
            f"<td>{_word(turn.becomes)}</td>", _both(turn.old_penalties, turn.new_penalties),
            _both(turn.old_listings, turn.new_listings),
        )
        for turn in turns
    )  # fmt: skip
    heads = ("entity", "province", "domain", "was", "becomes", "penalties", "listings")
    more = _more(len(turns), sum(compared.turned.values()) + compared.unexplained)
    return "<h2>What people are told otherwise</h2>" + _tabular(heads, rows) + more


def _changes(changes: Sequence[RecordChange], compared: Compared) -> str:
    rows = (
        (
            f"<td><code>{one.record_id.hex}</code>{_fields(one)}</td>", _td(f"{one.province} {one.department}"), _td(one.domain),
            _td(one.old_uscc if one.old_uscc == one.new_uscc else f"{one.old_uscc or '—'} → {one.new_uscc or '—'}"),
            _td(" ".join((one.change, *one.codes))), _both(one.old_status, one.new_status),
            _both(one.old_version, one.new_version),
        )
        for one in changes
    )  # fmt: skip
    heads = ("record", "of", "domain", "entity", "change", "status", "version")
    more = _more(len(changes), sum(n for *_, n in compared.summary))
    return "<h2>Records</h2>" + _tabular(heads, rows) + more


def _fields(one: RecordChange) -> str:
    if not one.fields:
        return ""
    rows = (
        (_td(name), f"<td><del>{_value(old)}</del></td>", f"<td><ins>{_value(new)}</ins></td>")
        for name, (old, new) in one.fields.items()
    )
    return f"<details><summary>{len(one.fields)} fields</summary>{_tabular(('field', 'old', 'new'), rows)}</details>"


def _tabular(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th{' class=n' if one == 'records' else ''}>{escape(one)}</th>" for one in heads)
    return f"<table><tr>{head}</tr>{''.join('<tr>' + ''.join(row) + '</tr>' for row in rows)}</table>"


def _more(shown: int, total: int) -> str:
    return (
        f"<p class='quiet'>… {total - shown:,} more: --limit, --format csv or json has all.</p>"
        if total > shown
        else ""
    )


def _word(word: str) -> str:
    return f"<span class='{_CLASS[word]}'>{word or '—'}</span>"


def _both(old: Any, new: Any) -> str:
    return f"<td>{_value(old)}{'' if old == new else f' → {_value(new)}'}</td>"


def _td(text: str | None) -> str:
    return f"<td>{escape(text or '—')}</td>"


def _value(value: Any) -> str:
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    return "—" if value is None else escape(str(value))
