"""The look of a workbook's cells: formats that show a number as something else, struck-out cells, comments.

Imports nothing of the project: producers/files/formats/workbook.py loads it in a process of its own.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from typing import NamedTuple
from xml.parsers import expat

__all__ = ["LARGEST_PART", "LONGEST_SHOWN", "REFERENCE", "TRUE", "Looks", "comments_of", "looks_of", "shows_otherwise"]

TRUE = ("1", "true")
LONGEST_SHOWN = 200
LARGEST_PART = 1 << 26
"""Bytes of the parts that name the sheets, or contain comments."""

_CHUNK = 1 << 20
REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})", re.ASCII)


class Looks(NamedTuple):
    """Cells that look unlike their value: by style, the format of a number, or None for a struck-out style."""

    styles: dict[str, str | None]
    struck: frozenset[int]
    """Shared strings that are partly struck out."""


_LITERAL = re.compile(r'"([^"]*)"|[\\!](.)|_.|\*.|\[[^\]]*\]')
_LIKE_A_DATE = re.compile(r"0000[-/.年]?00[-/.月]?00[日号]?")
_HARMLESS = re.compile(r"[\s¥￥$+\-()万元]*|[-/.年月日号]*")


def shows_otherwise(form: str, value: str) -> bool:
    """Return whether a format shows a number as another text: 20 % for 0.2, 0.2万 for 2000, 〔2025〕7号 or 0007 for 7."""
    first = re.split(r';(?=(?:[^"]*"[^"]*")*[^"]*$)', form)[0]
    literals = "".join(found[1] or found[2] or "" for found in _LITERAL.finditer(first))
    bare = _LITERAL.sub("", first)
    if re.search(r"[ymdhsYMDHSbeg@]|General|G/", bare.replace("E+", "").replace("E-", "")):
        return False
    if not bare.strip():
        return True
    if _LIKE_A_DATE.fullmatch(_LITERAL.sub(lambda found: found[1] or found[2] or "", first)) and len(value) == 8:
        return False
    if "%" in bare or "‰" in bare or re.search(r"[0#?],+(?![0#?,])", bare):
        return True
    padded = re.match(r"[^0#?.]*(0{2,})(?![0#?,]*[#?])", bare)
    if padded and len(value.lstrip("+-").partition(".")[0]) < len(padded[1]):
        return True
    return not _HARMLESS.fullmatch(literals) or ("元" in literals and "万" not in literals)


def looks_of(archive: zipfile.ZipFile, names: dict[str, str]) -> Looks:
    """Return the look of a workbook's cells; `names` are its parts, by name in lower case."""
    formats, fonts, styles = {"9": "0%", "10": "0.00%"}, list[bool](), dict[str, str | None]()
    struck: set[int] = set()
    within: list[str] = []
    count = -1

    def start(name: str, said: dict[str, str]) -> None:
        nonlocal count
        name = name.rpartition(":")[2]
        inside = within[-1] if within else ""
        if name == "numFmt":
            formats[said.get("numFmtId", "")] = said.get("formatCode", "")
        elif name == "font" and inside == "fonts":
            fonts.append(False)
        elif name == "si":
            count += 1
        elif name == "strike" and said.get("val", "1") in TRUE:
            if "fonts" in within and fonts:
                fonts[-1] = True
            elif count >= 0:
                struck.add(count)
        elif name == "xf" and inside == "cellXfs":
            font = int(said.get("fontId", "0") or 0)
            place, form = str(len(styles)), formats.get(said.get("numFmtId", "0"), "")
            styles[place] = None if font < len(fonts) and fonts[font] else form
        within.append(name)

    def end(_: str) -> None:
        within.pop()

    for part, needed in (("xl/styles.xml", b""), ("xl/sharedstrings.xml", b"strike")):
        if part in names and _holds(archive, names[part], needed):
            parser = expat.ParserCreate()
            parser.StartElementHandler, parser.EndElementHandler = start, end
            with archive.open(names[part]) as file:
                while read := file.read(_CHUNK):
                    parser.Parse(read, False)
                parser.Parse(b"", True)
            within.clear()
    return Looks({place: form for place, form in styles.items() if form is None or form}, frozenset(struck))


def _holds(archive: zipfile.ZipFile, part: str, needed: bytes) -> bool:
    before = b""
    with archive.open(part) as file:
        while read := file.read(_CHUNK):
            if needed in before + read:
                return True
            before = read[-len(needed) :]
    return not needed


def comments_of(archive: zipfile.ZipFile, names: dict[str, str], part: str) -> list[tuple[int, str]]:
    """Return row and text of the comments."""
    folder, _, name = part.lower().rpartition("/")
    related = names.get(f"{folder}/_rels/{name}.rels")
    targets: list[str] = []
    found: list[tuple[int, list[str]]] = []

    def start(name: str, said: dict[str, str]) -> None:
        parser.CharacterDataHandler = None
        name = name.rpartition(":")[2]
        if name == "Relationship" and said.get("Type", "").endswith("/comments"):
            targets.append(
                posixpath.normpath(posixpath.join("/", folder, said.get("Target", "").replace("\\", "/"))).lower()[1:]
            )
        elif name == "comment" and (place := REFERENCE.fullmatch(said.get("ref", ""))):
            found.append((int(place[2]), []))
        elif name == "t" and found:
            parser.CharacterDataHandler = found[-1][1].append

    for one in [related] if related else []:
        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        with archive.open(one) as file:
            parser.Parse(file.read(LARGEST_PART), True)
    for target in targets:
        if target in names:
            parser = expat.ParserCreate()
            parser.StartElementHandler = start
            with archive.open(names[target]) as file:
                parser.Parse(file.read(LARGEST_PART), True)
    return [(row, "".join(text)) for row, text in found]
