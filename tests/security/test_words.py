"""A person's number in any spelling, and what would steer a terminal or a spreadsheet: on a running stack nothing keeps either."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

from schemas.identifiers.uscc import generate
from schemas.store.database import connect
from schemas.texts.harmless import harmless
from tests.offline import log_of
from tests.persons import SCRIPTS, number, short, written_in
from tests.secure import Secure, xinliu
from tests.unit.importing import penalty, write
from tests.unit.test_spellings import readable

ENTITY = generate(7_160_016)


def spellings() -> list[tuple[str, str]]:
    draw = random.Random(16)
    plain, old = number(draw), short(draw)
    forms = [
        plain, f"{plain[:6]} {plain[6:14]} {plain[14:]}", f"{plain[:6]}–{plain[6:14]}–{plain[14:]}", "\u200b".join(plain), " ".join(plain),
        written_in(SCRIPTS[2], plain), written_in(SCRIPTS[8], plain), f"({plain[:6]}){plain[6:14]}\n[{plain[14:]}]",
    ]  # fmt: skip
    return [*((plain, form) for form in forms), (old, old), (old, f"{old[:6]} {old[6:12]} {old[12:]}")]


def test_no_part_of_the_way_keeps_a_number_in_any_spelling(secure: Secure, tmp_path: Path) -> None:
    forms = spellings()
    rows = [
        penalty(CF_XDR_SHXYM=ENTITY, CF_WSH=f"字{place}〔2025〕1号", CF_SY=f"联系人 {form} =1+1\x1b[2J")
        for place, (_, form) in enumerate(forms)
    ]
    rejects = tmp_path / "r.csv"
    done = xinliu(
        secure,
        "publish",
        str(write(tmp_path / "a.csv", rows)),
        "--department",
        "tax",
        "--wait",
        "--rejects",
        str(rejects),
    )
    assert done.returncode == 1, done.stderr
    listed = xinliu(secure, "quarantine", "list", "--department", "tax", "--limit", "50", "--json")
    reason = f"核实 {forms[1][1]}"
    resumed = xinliu(secure, "refused", "list", "--department", "tax", "--json")
    kept = [
        done.stdout,
        done.stderr,
        listed.stdout,
        listed.stderr,
        resumed.stdout,
        rejects.read_text(encoding="utf-8-sig"),
    ]
    entries = [one["entry"] for one in json.loads(resumed.stdout) if one["never_sent"]]
    assert len(entries) >= len(forms), resumed.stdout
    done = xinliu(secure, "refused", "discard", *entries, "--department", "tax", "--reason", reason)
    assert not done.returncode, done.stderr
    kept += [done.stdout, done.stderr]
    admin = secure.connection.acting("admin")
    for topic in ("quarantine", "accepted", "operations", "receipts.tax", "records.tax"):
        for message in log_of(admin, topic):
            kept.append((message.value() or b"").decode("utf-8", "replace"))
            kept += [value.decode("utf-8", "replace") for _, value in message.headers() or ()]
    with connect(admin.database.get_secret_value(), autocommit=True) as store:
        for table in ("quarantine", "penalty_history", "audit"):
            if store.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
                kept += [
                    str(row) for row in store.execute(f"SELECT t::text FROM {table} t").fetchall()
                ]  # names of ours
    kept += [
        path.read_text(encoding="utf-8", errors="replace")
        for path in (secure.stack.layout.folder / "logs").rglob("*.log")
    ]
    found = [text[:200] for text in kept for plain in {plain for plain, _ in forms} if readable(text, plain)]
    assert found == []
    printed = done.stdout + done.stderr + listed.stdout
    assert harmless(printed) == printed
    with rejects.open(encoding="utf-8-sig", newline="") as file:
        assert not [cell for cells in csv.reader(file) for cell in cells if cell[:1] in tuple("=+-@\t\r")]
