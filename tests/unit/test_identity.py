"""Who is who: ids, digests and document numbers, held against values computed elsewhere."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.records.identity import digest, digest_hex, normalise_document_number, record_id

WHO = {
    "kind": "PENALTY",
    "province": "beijing",
    "domain": "market",
    "authority": "11110000000000001A",
    "number": "京市监罚〔2025〕1号",
    "uscc": "91110000000000001A",
}


def test_an_id_never_changes() -> None:
    """The text is spelt out here: a change of the form would give every record published so far a second life."""
    text = "PENALTY\x1fbeijing\x1fmarket\x1f11110000000000001A\x1f京市监罚20251号\x1f91110000000000001A"
    assert record_id(**WHO) == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    assert record_id(**WHO) == "11113949fe3eaf9f3112a8384341fcaa"


@pytest.mark.parametrize("field", WHO)
def test_every_part_counts(field: str) -> None:
    assert record_id(**{**WHO, field: WHO[field] + "2"}) != record_id(**WHO)


@pytest.mark.parametrize("field", ["authority", "uscc"])
def test_codes_in_small_letters_are_the_same_codes(field: str) -> None:
    assert record_id(**{**WHO, field: WHO[field].lower()}) == record_id(**WHO)


@pytest.mark.parametrize(
    "written",
    [
        "京市监罚〔2025〕1号",
        "京市监罚【2025】1号",
        "京市监罚[2025]1号",
        "京市监罚（2025）1号",
        "京市监罚(2025)1号",
        "京市监罚［2025］1号",
        "京市监罚〈2025〉1号",
        "京市监罚<2025>1号",
        "京市监罚〔２０２５〕１号",
        " 京 市监罚\u3000〔2025〕\t1 号\n",
    ],
)
def test_one_decision_however_it_is_cited(written: str) -> None:
    assert normalise_document_number(written) == "京市监罚20251号"
    assert record_id(**{**WHO, "number": written}) == record_id(**WHO)


BRACKETS = [
    "〔〕",
    "【】",
    "[]",
    "()",
    "（）",
    "［］",
    "〈〉",
    "<>",
    "﹝﹞",
    "{}",
    "｛｝",
    "「」",
    "『』",
    "《》",
    "〖〗",
    "〘〙",
    "〚〛",
    "⟨⟩",
    "⟦⟧",
    "«»",
    "‹›",
    "❲❳",
    "﹙﹚",
    "﹛﹜",
    "﹤﹥",
    "︹︺",
    "︷︸",
    "﹁﹂",
    "“”",
    "‘’",
]


@pytest.mark.parametrize("opening", BRACKETS)
def test_a_year_in_any_brackets_is_the_same_decision(opening: str) -> None:
    for closing in BRACKETS:
        written = f"京市监罚{opening[0]}2025{closing[1]}1号"
        assert record_id(**{**WHO, "number": written}) == record_id(**WHO), written


def test_other_brackets_are_part_of_a_number_but_round_a_year() -> None:
    assert normalise_document_number("京罚〔2025〕1号《更正》") == "京罚20251号《更正》"
    assert normalise_document_number("京罚{甲}1号") == "京罚{甲}1号"
    assert normalise_document_number("{20〔25}1号") == "20251号"


def _before(number: str) -> str:
    """The normal form as it was when only 〔〕【】[]()（）［］〈〉<> were known."""
    known = str.maketrans(dict.fromkeys("〔〕【】[]()（）［］〈〉<>", None))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", number).upper()).translate(known)
    return unicodedata.normalize("NFKC", "".join(folded.split()))


@given(st.text(st.sampled_from("京罚Ａa é〔〕【】[]()（）［］〈〉<>2025１号-—、第之\u3000´")))
def test_ids_of_numbers_with_the_brackets_once_known_stay(number: str) -> None:
    assert normalise_document_number(number) == _before(number)


@given(st.text(st.sampled_from("京〔〕{}「」《》2025号 ")))
def test_a_normal_form_with_any_brackets_is_its_own(number: str) -> None:
    assert normalise_document_number(normalise_document_number(number)) == normalise_document_number(number)


def test_letters_are_capitals_and_other_numbers_stay_apart() -> None:
    assert normalise_document_number("津Ａb-12") == "津AB-12"
    assert normalise_document_number("1〔2〕3号") == normalise_document_number("12〔〕3号")
    assert normalise_document_number("京罚〔2025〕11号") != normalise_document_number("京罚〔2025〕1号")


@given(st.text())
def test_the_normal_form_has_no_space_and_no_bracket(number: str) -> None:
    normal = normalise_document_number(number)
    assert not any(letter.isspace() or letter in "〔〕【】[]()<>" for letter in normal)


@given(st.text())
@example("A´")  # NFKC makes a space and an accent of ´
@example("ΐ")  # its capital is three characters, which NFKC joins again
def test_the_normal_form_is_its_own_normal_form(number: str) -> None:
    normal = normalise_document_number(number)
    assert normalise_document_number(normal) == normal


@given(st.binary())
def test_a_digest_is_blake2b_in_two_signed_halves(body: bytes) -> None:
    high, low = digest(body)
    assert all(-(2**63) <= half < 2**63 for half in (high, low))
    assert digest_hex(high, low) == hashlib.blake2b(body, digest_size=16).hexdigest()
    assert int(digest_hex(high, low), 16) == (high % 2**64) << 64 | low % 2**64
