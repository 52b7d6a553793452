"""The JSON codec: what is refused, and that what is kept is kept exactly."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir import codec
from fhir_server.fhir.outcome import FhirError

MOMENT = datetime(2026, 11, 24, 2, 0, 0, 123456, tzinfo=UTC)


def refusal(body: bytes) -> FhirError:
    with pytest.raises(FhirError) as caught:
        codec.parse(body)
    assert caught.value.status == 400
    return caught.value


REFUSED = {
    b"": "empty",
    b" \n": "empty",
    b"[]": "JSON array",
    b'"Patient"': "JSON string",
    b"null": "JSON null",
    b"5": "JSON number",
    b"true": "JSON boolean",
    b'{"a":1': "truncated",
    b'{"a":1}{': "trailing characters",
    b'{"a":1,}': "trailing comma",
    b"{'a':1}": "byte 1",
    b'{"a":NaN}': "byte 5",
    b'{"a":Infinity}': "byte 5",
    b'{"a":-Infinity}': "byte 6",
    b'{"a":01}': "invalid number",
    b'{"a":1.}': "invalid number",
    b'{"a":+1}': "byte 5",
    b'{"a":/*c*/1}': "byte 5",
    b'\xef\xbb\xbf{"a":1}': "byte order mark",
    b'{"a":"\xff"}': "UTF-8",
    b'{"a":"\xed\xa0\x80"}': "UTF-8",
    b'{"a":"\xc0\x80"}': "UTF-8",
    b'{"\xff":1}': "UTF-8",
    b'{"a":"\\ud800"}': "surrogate",
    b'{"a":"\\ud800x"}': "surrogate",
    b'{"a":"x\\udc00"}': "surrogate",
    b'{"a":"\\ud800\\u0041"}': "surrogate",
    b'{"a":"\x00"}': "byte 6",
    b'{"a":"\x1f"}': "byte 6",
    b'{"a":"\\u001f"}': "U+001F",
    b'{"a":"\\u001F"}': "U+001F",
    b'{"a":[{"b\\u001f":1}]}': "U+001F",
    b'{"a":1e309}': "range",
    b'{"a":1e-309}': "range",
    b'{"a":1e99999999999999999999}': "range",
    b'{"a":0e999999999}': "range",
    b'{"a":1,"a":1}': "twice",
    b'{"a":1,"\\u0061":1}': "twice",
    b'{"a\\u003a":1,"a:":1}': "twice",
    b'{"a":123456789012345678901234,"a":1}': "twice",
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.items(), ids=lambda each: repr(each)[:40])
def test_what_fhirs_json_does_not_allow_is_refused_with_the_reason(body: bytes, reason: str):
    assert reason in str(refusal(body))


def test_a_duplicate_key_is_named_with_its_place():
    found = refusal(
        b'{"resourceType":"Patient","name":[{"family":"A"},{"family":"B","family":"C"}]}'
    )
    assert found.issues[0].expression == ("Patient.name[1].family",)
    assert "'family'" in found.issues[0].diagnostics


def test_a_duplicate_key_is_found_among_escaped_colons():
    body = b'{"x":"\\u003a","y":"::","a":{"b":1,"b":2}}'
    assert refusal(body).issues[0].expression == ("a.b",)


def test_a_hundred_levels_are_read_and_one_more_is_refused():
    def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
        return b'{"a":' * (levels - 1) + opening + b"1" + closing + b"}" * (levels - 1)

    assert codec.parse(nested(100, b"[", b"]"))
    assert codec.parse(nested(100, b'{"a":', b"}"))
    for levels in (101, 260, 1500, 100_000):
        assert "levels" in str(refusal(nested(levels, b"[", b"]")))


def test_brackets_inside_strings_are_not_levels():
    body = json.dumps({"a": "[{" * 500, "b": [{"c": "]}" * 500}]}).encode()
    assert codec.parse(body)["a"] == "[{" * 500


def test_an_escaped_backslash_before_u001f_is_only_text():
    assert codec.parse(b'{"a":"\\\\u001f"}') == {"a": "\\u001f"}


def test_unicode_escapes_and_pairs_are_read():
    assert codec.parse(b'{"a":"\\u00e9\\ud83d\\ude00"}') == {"a": "é😀"}


@pytest.mark.parametrize(
    "text",
    ["1.50", "0.00", "0.1234567890123456789", "-0.0", "100", "1E-7", "100000000000000000000"],
)
def test_decimals_are_written_as_they_were_read(text: str):
    body = b'{"value":' + text.encode() + b"}"
    assert codec.encode(codec.parse(body)) == body


def test_decimals_are_decimal_and_integers_are_int():
    parsed = codec.parse(b'{"a":1.0,"b":1,"c":1e3}')
    assert isinstance(parsed["a"], Decimal)
    assert isinstance(parsed["b"], int)
    assert parsed["c"] == 1000


def test_stamp_sets_id_and_meta_where_there_were_none():
    body = b'{"resourceType":"Basic","code":{ "text" : "x" }}'
    assert codec.stamp(body, "n-1", 3, MOMENT) == (
        b'{"resourceType":"Basic","id":"n-1","meta":{"versionId":"3",'
        b'"lastUpdated":"2026-11-24T02:00:00.123Z"},"code":{ "text" : "x" }}'
    )


def test_stamp_replaces_only_the_resources_own_id_and_version():
    body = (
        b'{"id":"old","resourceType":"Basic","meta":{"versionId":"9","tag":[{"code":"a"}],'
        b'"lastUpdated":"2001-01-01T00:00:00Z"},"contained":[{"id":"old","meta":{"versionId":"9"}}],'
        b'"extension":[{"id":"old","url":"x","valueDecimal":1.50e0}],"text":"\\u00e9\\/"}'
    )
    stamped = codec.stamp(body, "new", 1, MOMENT)
    parsed = json.loads(stamped)
    assert parsed["id"] == "new"
    assert parsed["meta"] == {
        "versionId": "1",
        "lastUpdated": "2026-11-24T02:00:00.123Z",
        "tag": [{"code": "a"}],
    }
    assert b'"contained":[{"id":"old","meta":{"versionId":"9"}}]' in stamped
    assert b'"valueDecimal":1.50e0' in stamped
    assert b'"\\u00e9\\/"' in stamped


def test_instant_is_utc_with_milliseconds():
    there = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert codec.instant(there) == "2026-11-24T02:00:00.123Z"
    assert codec.instant(MOMENT.replace(microsecond=0)) == "2026-11-24T02:00:00.000Z"
    with pytest.raises(ValueError, match="time zone"):
        codec.instant(datetime(2026, 1, 1))


def test_pretty_indents_and_keeps_every_value():
    assert (
        codec.pretty(b'{"a":[1.50,"\\u00e9"]}') == b'{\n  "a": [\n    1.50,\n    "\\u00e9"\n  ]\n}'
    )


text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x1f"))
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(
    lambda each: Decimal("0.000") if each.is_zero() else each
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | decimals | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(text, values, max_size=6))
def test_every_object_comes_back_as_it_was(content: dict):
    body = codec.encode(content)
    assert codec.parse(body) == content
    assert codec.encode(codec.parse(body)) == body


@given(st.dictionaries(text, values, min_size=1, max_size=5), st.data())
def test_a_repeated_key_never_passes(content: dict, data: st.DataObject):
    key = data.draw(st.sampled_from(sorted(content)))
    again = json.dumps(key, ensure_ascii=data.draw(st.booleans())).encode()
    body = codec.encode(content)[:-1] + b"," + again + b":" + codec.encode(data.draw(values)) + b"}"
    assert "twice" in str(refusal(body))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_read_or_refused(body: bytes):
    try:
        found = codec.parse(body)
    except FhirError as refused:
        found = {"status": refused.status}
    assert found == {"status": 400} or codec.parse(codec.encode(found)) == found


@given(st.dictionaries(text, values, max_size=6), text.filter(bool))
def test_stamp_leaves_all_other_members_verbatim(content: dict, identity: str):
    others = {k: v for k, v in content.items() if k not in ("id", "meta", "resourceType")}
    stamped = codec.stamp(codec.encode({**others, "resourceType": "X"}), identity, 7, MOMENT)
    parsed = codec.parse(stamped)
    assert (parsed.pop("resourceType"), parsed.pop("id")) == ("X", identity)
    assert parsed.pop("meta")["versionId"] == "7"
    assert codec.encode(parsed) == codec.encode(others)
