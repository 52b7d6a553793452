"""The primitive types of R4 (Datatypes, "Primitive Types"): one table for both roads.

The patterns are written for Python and for the linear-time engine behind the schemas, so they
use neither look-around nor classes that depend on the engine (`\\d`, `\\s`).
"""

import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

JsonType = Literal["string", "boolean", "integer", "number"]

MAX_STRING = 1024 * 1024  # R4: a string holds at most 1 MB of characters
INT32 = 2**31 - 1

_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f"
_SPACE = r"\x00-\x20\x7f\x85\xa0"
_TEXT = rf"[^{_CONTROL}]*[^{_CONTROL}\t\n\r ][^{_CONTROL}]*"
_WORD = rf"[^{_SPACE}]+"

_YEAR = "(?:[0-9](?:[0-9](?:[0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_MONTH_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DAY = f"(?:{_YEAR}-{_MONTH_DAY}|{_LEAP_YEAR}-02-29)"
_PARTIAL = f"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_MOMENT = f"{_DAY}T{_TIME}(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_BLANK = r"[\t\n\r ]*"
_SIXBIT = f"[A-Za-z0-9+/]{_BLANK}"
_HEX = "[0-9a-f]"


@dataclass(frozen=True)
class Primitive:
    """What a primitive type accepts; `expected` completes "… was expected". `judge` stands in
    for a pattern that Python's engine is too slow for."""

    json_type: JsonType
    expected: str
    pattern: str | None = None
    low: int | None = None
    judge: Callable[[str], bool] | None = None

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.pattern or "")

    def accepts(self, value: Any) -> bool:
        """Whether the parsed JSON value is one of this type."""
        match self.json_type:
            case "boolean":
                return isinstance(value, bool)
            case "integer":
                is_integer = isinstance(value, int) and not isinstance(value, bool)
                low = -INT32 - 1 if self.low is None else self.low
                return is_integer and low <= value <= INT32
            case "number":
                return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
            case "string":
                return isinstance(value, str) and self._accepts_text(value)

    def _accepts_text(self, text: str) -> bool:
        if self.judge is not None:
            return self.judge(text)
        is_short = self.pattern != _TEXT or len(text) <= MAX_STRING
        return is_short and self._regex.fullmatch(text) is not None

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema (draft 4, where 1.0 is no integer)."""
        schema: dict[str, Any] = {"type": self.json_type}
        if self.json_type == "integer":
            schema |= {"minimum": -INT32 - 1 if self.low is None else self.low, "maximum": INT32}
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        if self.pattern == _TEXT:
            schema["maxLength"] = MAX_STRING
        return schema


def _string(expected: str, pattern: str) -> Primitive:
    return Primitive("string", expected, pattern)


_FREE_TEXT = "text (a JSON string that is not blank, without control characters, at most 1 MB)"
_URI = "a URI (without white space)"
_BASE64 = (
    f"{_BLANK}(?:(?:{_SIXBIT}){{4}})*(?:(?:{_SIXBIT}){{4}}|(?:{_SIXBIT}){{3}}={_BLANK}"
    f"|(?:{_SIXBIT}){{2}}={_BLANK}={_BLANK})"
)


def _is_base64(text: str) -> bool:
    try:
        return bool(binascii.a2b_base64(re.sub(r"[\t\n\r ]+", "", text), strict_mode=True))
    except ValueError:  # binascii.Error is one
        return False


PRIMITIVES: Mapping[str, Primitive] = {
    "base64Binary": Primitive("string", "base64 text", _BASE64, judge=_is_base64),
    "boolean": Primitive("boolean", "true or false (a JSON boolean)"),
    "canonical": _string("a canonical URL (url, url|version or #id)", _WORD),
    "code": _string("a code (no white space but single spaces inside)", rf"{_WORD}(?: {_WORD})*"),
    "date": _string("a date that exists (YYYY, YYYY-MM or YYYY-MM-DD)", f"{_PARTIAL}|{_DAY}"),
    "dateTime": _string(
        "a date or time that exists (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with zone)",
        f"{_PARTIAL}|{_DAY}|{_MOMENT}",
    ),
    "decimal": Primitive("number", "a decimal (a JSON number)"),
    "id": _string("an id (1 to 64 of A-Z a-z 0-9 - .)", r"[A-Za-z0-9\-.]{1,64}"),
    "instant": _string("an instant that exists (YYYY-MM-DDThh:mm:ss[.sss] with zone)", _MOMENT),
    "integer": Primitive("integer", "a 32-bit integer (a JSON number without fraction)"),
    "markdown": _string(_FREE_TEXT, _TEXT),
    "oid": _string("an OID (urn:oid:1.2.3)", r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+"),
    "positiveInt": Primitive("integer", "a 32-bit integer from 1 up", low=1),
    "string": _string(_FREE_TEXT, _TEXT),
    "time": _string("a time of day (hh:mm:ss)", _TIME),
    "unsignedInt": Primitive("integer", "a 32-bit integer from 0 up", low=0),
    "uri": _string(_URI, _WORD),
    "url": _string("a URL (without white space)", _WORD),
    "uuid": _string(
        "a lower-case UUID (urn:uuid:…)",
        f"urn:uuid:{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    ),
    "xhtml": _string("XHTML (a JSON string)", _TEXT),
    # No type of FHIR's: the id of an element, a string that can be linked to.
    "element id": _string("an id without white space", _WORD),
}
