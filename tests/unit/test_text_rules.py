"""What is no text, what nobody sees, and what only looks like an answer: told of every field alike, whoever sent it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.contracts.flat_frame import FLAT
from schemas.rules import validate
from schemas.rules.examples import good
from schemas.texts.visible import visible
from tests.examples import examples

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
NAMES = ("subject_name", "penalty_authority_name", "penalty_document_number", "penalty_legal_representative")
SENTENCES = ("penalty_facts", "penalty_content", "penalty_remark", "penalty_violation_type")

REFUSED = {
    "GARBLED_TEXT": "\ufffd\ufffe\uffff",
    "DIRECTION_MARK": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "CONTROL_CHARACTER": "\x00\x01\x08\x0b\x1b\x7f\x80\x85\x9f",
}
IN_NAMES = {
    "HIDDEN_CHARACTER": "\xad\u061c\u180e\u200b\u200e\u200f\u2060\u2063\ufeff\U000e0041",
    "CONTROL_CHARACTER": "\t\n\r",
}
REMARKED = {"PRIVATE_USE": "\ue000\ue81e\ue863\uf8ff\U000f0000\U0010fffd"}


def told(texts: list[tuple[str, str]]) -> list[set[str]]:
    """Return the codes that are told of each field and text, in a good statement of its own."""
    rows = [good("PENALTY") | {"row": number, field: text} for number, (field, text) in enumerate(texts)]
    frame = pl.DataFrame({name: [row[name] for row in rows] for name in FLAT.names()}, schema=FLAT)
    found = validate(frame, load(), today=date(2026, 11, 23), now=NOW)
    assert not found["value"].str.contains(r"[\x00-\x1f\u202a-\u202e]").any(), "what is told is visible"
    of_row = found.group_by("row").agg(pl.col("code")).to_dict(as_series=False)
    codes = dict(zip(of_row["row"], map(set, of_row["code"]), strict=True))
    return [codes.get(number, set()) for number in range(len(rows))]


@pytest.mark.parametrize("field", [*NAMES, *SENTENCES])
def test_characters_are_told_wherever_they_stand(field: str) -> None:
    expected = {**REFUSED, **REMARKED}
    if field in NAMES:
        expected = {
            **expected,
            **IN_NAMES,
            "CONTROL_CHARACTER": REFUSED["CONTROL_CHARACTER"] + IN_NAMES["CONTROL_CHARACTER"],
        }
    cases = [(code, f"{before}{one}{after}") for code, marks in expected.items() for one in marks
             for before, after in (("北京", "商贸"), ("", "商贸有限"), ("北京商贸", ""))]  # fmt: skip
    for (code, text), codes in zip(cases, told([(field, text) for _, text in cases]), strict=True):
        assert codes == {code}, (text.encode("unicode_escape"), codes)


@pytest.mark.parametrize("field", SENTENCES)
def test_a_sentence_may_have_lines_and_a_question(field: str) -> None:
    texts = ["第一行\n第二行\t续", "是否申报?未申报", "含\u200b零宽", "\ufeff开头", "A&B;C", "价格>5&数量<3"]
    assert told([(field, text) for text in texts]) == [set()] * len(texts)


@pytest.mark.parametrize("text", ["北京??商贸有限公司", "北京?商贸有限公司", "??", "????有限公司"])
def test_question_marks_in_a_name_are_remarked(text: str) -> None:
    (codes,) = told([("subject_name", text)])
    assert "QUESTION_MARKS" in codes


@pytest.mark.parametrize("entity", ["&amp;", "&nbsp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#x27;", "&ldquo;"])
def test_entities_are_remarked(entity: str) -> None:
    assert (
        told([("subject_name", f"北京A{entity}B公司"), ("penalty_facts", f"逾期{entity}申报")]) == [{"HTML_ENTITY"}] * 2
    )


@pytest.mark.parametrize(
    "text",
    ["同上", "〃", "见附件", "详见附件", "（详见附件）", "详见附件。", "见决定书", "详见行政处罚决定书", "参见附表", "*", "***", "********", "\\N", "NULL",
     "null", "N/A", "#N/A", "#REF!", "--", "————", "……", "...", "??", "/", "//", "xxx", "XX", "×××", "略", "待补充", "无", "（无）", "无。", " 无 ", "测试"],
)  # fmt: skip
def test_what_stands_for_nothing_is_remarked(text: str) -> None:
    fields = ("penalty_facts", "penalty_basis", "penalty_content", "subject_name")
    for codes in told([(field, text) for field in fields]):
        assert "PLACEHOLDER" in codes


def test_what_says_something_is_no_placeholder() -> None:
    texts = ["见附件的决定书所载事实", "无证经营", "同上述事实", "未知来源食品", "未申报", "警告", "1", "10"]
    assert told([("penalty_facts", text) for text in texts]) == [set()] * len(texts)


@examples(60)
@given(
    st.text(st.sampled_from("北京ａ甲·（）「」—〔〕𬭩𰻝龴é\u3000A&-，。"), min_size=3, max_size=12).filter(
        lambda text: text.strip("—-· \u3000。")
    )
)
def test_ordinary_texts_break_none_of_these(text: str) -> None:
    ours = {*REFUSED, *IN_NAMES, *REMARKED, "QUESTION_MARKS", "HTML_ENTITY"}
    (codes,) = told([("subject_name", f"北京{text}公司")])
    assert not codes & ours


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    assert visible(text).isprintable()
    assert not text.isprintable() or visible(text) == text
