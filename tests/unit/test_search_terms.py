"""The encodings of terms: the order of values is the order of terms, equal values equal terms."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search import terms

DECIMALS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.decimals(min_value=-1000, max_value=1000, places=3),
    st.integers(-(10**30), 10**30).map(Decimal),
    st.builds(
        lambda digits, exponent: Decimal(digits).scaleb(exponent),
        st.integers(-(10**18), 10**18),
        st.integers(-400, 400),
    ),
)
TEXTS = st.text(max_size=12)


@given(DECIMALS, DECIMALS)
def test_numbers_keep_their_order(one: Decimal, other: Decimal) -> None:
    left, right = terms.number(one), terms.number(other)
    assert (left < right, left == right) == (one < other, one == other)


@given(DECIMALS, st.integers(0, 5))
def test_equal_numbers_have_equal_terms(value: Decimal, zeros: int) -> None:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, digits + (0,) * zeros, exponent - zeros))
    assert terms.number(longer) == terms.number(value)


@given(DECIMALS, DECIMALS)
def test_the_bound_above_a_number_shuts_out_that_number_alone(
    value: Decimal, other: Decimal
) -> None:
    bound = terms.above(terms.number(value))
    assert terms.number(value) < bound
    assert (terms.number(other) < bound) == (other <= value)


@given(DECIMALS)
def test_every_number_lies_between_the_open_bounds(value: Decimal) -> None:
    assert terms.LOWEST < terms.number(value) < terms.HIGHEST


@given(st.integers(0, 10**18))
def test_numbers_are_short(digits: int) -> None:
    assert len(terms.number(Decimal(digits).scaleb(-(10**6)))) < 40
    assert len(terms.number(Decimal("1" * 5000))) < terms.NUMBER_DIGITS + 30


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_has_no_term(value: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        terms.number(Decimal(value))


MOMENTS = st.integers(-62_135_596_800_000_000, 253_402_300_800_000_000)


@given(MOMENTS, MOMENTS)
def test_moments_keep_their_order(one: int, other: int) -> None:
    left, right = terms.instant(one), terms.instant(other)
    assert (left < right, left == right) == (one < other, one == other)
    assert terms.LOWEST < left < terms.HIGHEST


@given(TEXTS, TEXTS)
def test_the_range_of_a_prefix_is_what_starts_with_it(prefix: str, text: str) -> None:
    high = terms.next_after(prefix)
    for candidate in (text, prefix + text):
        is_inside = prefix <= candidate and (high is None or candidate < high)
        assert is_inside == candidate.startswith(prefix)


@pytest.mark.parametrize("prefix", ["a\ud7ff", "\U0010ffff", "a\U0010ffff", "\uffff", ""])
def test_prefixes_at_the_edges_of_unicode(prefix: str) -> None:
    high = terms.next_after(prefix)
    for tail in ("", "x", "\U0010ffff"):
        assert high is None or prefix + tail < high
    if high is not None:
        high.encode()


@given(TEXTS)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    folded = terms.fold(text)
    assert terms.fold(folded) == folded
    assert terms.fold(text.upper().lower()) == terms.fold(text.lower())


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Müller", "muller"),
        ("MÜLLER", "muller"),
        ("Straße", "strasse"),
        ("  van  der\tBerg ", "van der berg"),
        ("Ǻngström", "angstrom"),
        ("Νίκος", "νικος"),
        ("ΝΊΚΟΣ", "νικοσ"),
        ("東京", "東京"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert terms.fold(text) == terms.fold(folded)


@given(st.text(min_size=900, max_size=1200), st.text(min_size=900, max_size=1200))
def test_bounding_keeps_texts_apart(one: str, other: str) -> None:
    assert (terms.bounded(one) == terms.bounded(other)) == (one == other)
    assert len(terms.bounded(one)) <= terms.KEY_LENGTH + 65


@given(st.integers(0, 4000), st.integers(1, terms.CHUNK_OVERLAP))
def test_every_part_of_a_long_text_lies_in_its_beginning_or_in_one_chunk(
    start: int, length: int
) -> None:
    text = "".join(chr(0x4E00 + index) for index in range(4200))
    part = text[start : start + length]
    pieces = [text[: terms.KEY_LENGTH], *terms.chunks(text)]
    assert any(part in piece for piece in pieces)
    assert all(len(piece) <= terms.KEY_LENGTH for piece in pieces)
