"""Prints what becomes of every case: file, before, after. Exit code 1 if any is not as expected."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.cases import CASES, cases, outcome

_LONGEST = 160


def main(folder: Path) -> int:
    """Publish the cases of a folder and print the table; return how many are not as expected."""
    table = Table("", "file", "before", "after", show_lines=False)
    wrong = count = 0
    for case in cases():
        if not (folder / case.group / case.file).exists():
            continue
        count += 1
        found = outcome(case, folder)
        right = replace(found, text="") == case.expected and all(text in found.text for text in case.told)
        wrong += not right
        after = str(found) if right else f"{found}; expected: {case.expected} {'|'.join(case.told)}"
        shown = after if not right else after[:_LONGEST] + ("…" if len(after) > _LONGEST else "")
        table.add_row("[green]✓[/]" if right else "[red]✗[/]", escape(str(case)), escape(case.before), escape(shown))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    console.print(f"{count} files and ways to publish them, {wrong} not as expected")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CASES), 1))
