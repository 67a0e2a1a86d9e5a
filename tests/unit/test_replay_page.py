"""The page of a diff: one file, whatever records say stands there as text, what harms people first."""

from __future__ import annotations

from html.parser import HTMLParser
from uuid import UUID

from streams.replay.diff.differences import Compared, RecordChange, StateChange, word_of
from streams.replay.diff.page import page

HOSTILE = "<script>alert('无')</script>\"&"


class Tags(HTMLParser):
    """Which tags and attributes a page has, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def turn(number: int, was: int, becomes: int) -> StateChange:
    return StateChange(f"9111{number}", "beijing", "tax", 1, was, 0, False, 1, becomes, 0, False, True)


def change(**told: object) -> RecordChange:
    known = {
        "record_id": UUID(int=1), "province": "beijing", "department": HOSTILE, "domain": "tax", "old_uscc": "A", "new_uscc": HOSTILE,
        "change": "CHANGES", "old_status": "IN_FORCE", "new_status": "IN_FORCE", "old_version": 1, "new_version": 2, "codes": (),
        "fields": {HOSTILE: [HOSTILE, None]},
    }  # fmt: skip
    return RecordChange(**{**known, **told})  # type: ignore[arg-type]


def compared(**told: object) -> Compared:
    known = {"old": "g1", "new": "g2", "what": "digests", "old_rows": 5, "new_rows": 5, "buckets": 4096, "differing": 1}
    return Compared(**{**known, **told})  # type: ignore[arg-type]


def read(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


def test_what_a_record_says_is_text_and_the_file_needs_no_other() -> None:
    told = compared(
        turned={("有", "无"): 1, ("无", "有"): 2}, summary=[("tax", HOSTILE, "CHANGES", 3)], only_new=["risk"]
    )
    text = page(told, [turn(1, 1, 0), turn(2, 0, 1)], [change()])
    tags = read(text)
    assert "script" not in tags.seen
    assert tags.addresses == []
    assert text.index("91111") < text.index("91112")
    assert "1 more" in text, "three turn, two are shown"
    assert "2 more" in text, "three records differ, one is shown"
    assert "risk" in text


def test_equal_ones_say_so() -> None:
    text = page(compared(), [], [])
    read(text)
    assert "Equal: nothing differs" in text


def test_the_word_of_an_entity() -> None:
    assert word_of(0, 1, True) == "有"
    assert word_of(0, 0, True) == "待核"
    assert word_of(0, 0, False) == "无"
    assert StateChange("A", "beijing", "registration", 1, 0, 0, False, None, None, None, None, True).turns is False
