"""Every encoding of a value as a term: a string whose order, by code point, is the value's.

One file, so that extraction, the planner and every store mean the same. A parameter key is
`Type.code` plus one of the suffixes below; what stands under it:

| suffix | term |
|---|---|
| none | token `code␟system` · string folded · uri as written · number, quantity: the point |
| none | reference: `Type/id`, a URL, or `url␟version` of a canonical |
| `=` | string as written |
| `+` | the further chunks of a long folded string, for the scan of `:contains` |
| `|` | token: the system · quantity: `system␟code␟number` |
| `:of-type` | identifier: `code␟system␟value` of its type and value |
| `:text` | token: one folded word of the texts · string of several words: one folded word |
| `:identifier`, `:identifier|` | reference: its logical identifier, as token terms |
| `:contained` | reference into the resource itself: the id that it names |
| `:unit` | quantity: `code␟number` and, where it differs, `unit text␟number` |
| `~` | quantity: `canonical UCUM unit␟number` |
| `<`, `>` | date: lower and upper bound · number, quantity: bounds of a value that is no point |

`Type.has` holds the codes of the parameters that the resource has a value for; `Type._text` the
words of the narrative, `Type._content` those of everything else (`full_text.py`); `Type.canonical`
what the resource is called (`canonical.py`); `Location.near` cells and coordinates
(`positions.py`).
"""

import hashlib
import unicodedata
from decimal import Decimal
from functools import lru_cache

ENCODING = 3
"""Raised whenever resources get other terms than before, or new ones: stored terms of an older
encoding have to be made again."""

SEPARATOR = "\x1f"
"""Stands between the parts of a term; refused in input, so no value can contain it."""

KEY_LENGTH = 1000
"""Longest part of a term; longer values keep this many characters and the hash of the whole."""

SORT_LENGTH = 200
"""Sort keys beyond this many characters are equal."""

CHUNK_OVERLAP = 200
"""Longest text that `:contains` can look for: chunks of a long value overlap by this much."""

NUMBER_DIGITS = 100
"""Significant digits of a number that count for its order; FHIR asks for 18."""

LOWEST = ""
"""Bound of a value that is open below."""

HIGHEST = "~"
"""Bound of a value that is open above; after every number and every date."""

_LAST_CODE_POINT = 0x10FFFF
_EPOCH_MICROSECONDS = 62_135_596_800_000_000  # from 0001-01-01 to 1970-01-01
_LETTERS = str.maketrans("0123456789abcdef", "ABCDEFGHIJKLMNOP")
"""Hashes in capital letters only: a scan for folded text never finds anything in them."""

_NINES = str.maketrans("0123456789", "9876543210")


def key(type_: str, code: str, suffix: str = "") -> str:
    """The parameter key of `code` on resources of `type_`."""
    return f"{type_}.{code}{suffix}"


def has_key(type_: str) -> str:
    """The key under which the names of the parameters that have a value stand."""
    return f"{type_}.has"


def bounded(text: str) -> str:
    """The text itself, or when it is long its beginning and the hash of the whole."""
    if len(text) <= KEY_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest().translate(_LETTERS)
    return f"{text[:KEY_LENGTH]}{SEPARATOR}{digest}"


def next_after(prefix: str) -> str | None:
    """The lowest string after all that start with `prefix`; None when there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[index]) + 1
        if 0xD800 <= point <= 0xDFFF:  # surrogates are no characters
            point = 0xE000
        if point <= _LAST_CODE_POINT:
            return prefix[:index] + chr(point)
    return None


def fold(text: str) -> str:
    """The text without case, accents and surplus white space (R4 Search, "string")."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(each for each in decomposed if not unicodedata.combining(each))
    return " ".join(unicodedata.normalize("NFKC", bare).casefold().split())


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The folded words of a text: runs of letters and digits."""
    spaced = "".join(each if each.isalnum() else " " for each in fold(text))
    return tuple(dict.fromkeys(spaced.split()))


def chunks(folded: str) -> list[str]:
    """What `bounded` cuts off a long folded text, in overlapping pieces."""
    step = KEY_LENGTH - CHUNK_OVERLAP
    return [
        folded[start : start + KEY_LENGTH]
        for start in range(step, len(folded) - CHUNK_OVERLAP, step)
    ]


def number(value: Decimal | int) -> str:
    """The number as a term: sign, then exponent, then digits.

    Exact for NUMBER_DIGITS significant digits; further ones are cut. Negative numbers have
    exponent and digits complemented, and end in a character above every digit.
    """
    if not value:
        return "1"
    mantissa, mark, exponent = format(Decimal(value), "e").partition("e")
    if not mark:
        raise ValueError(f"not a finite number: {value}")
    digits = mantissa.lstrip("-").replace(".", "")[:NUMBER_DIGITS].rstrip("0")
    if mantissa[0] == "-":
        return f"0{_exponent(-int(exponent))}{digits.translate(_NINES)}~"
    return f"2{_exponent(int(exponent))}{digits}"


@lru_cache(maxsize=1024)
def _exponent(exponent: int) -> str:
    """An integer, ordered: a letter for sign and count of digits, then the digits."""
    digits = str(abs(exponent))
    if exponent < 0:
        return chr(ord("M") - len(digits)) + digits.translate(_NINES)
    return chr(ord("M") + len(digits)) + digits


def above(term: str) -> str:
    """The lowest bound that shuts out `term` itself, for numbers and dates."""
    return term + "!"


def instant(microseconds: int) -> str:
    """Microseconds of UTC since 1970 as a term; moments before the year 1 are its start."""
    return f"{max(0, microseconds + _EPOCH_MICROSECONDS):018d}"


def joined(*parts: str) -> str:
    """Parts of one term, each bounded, with the separator between them."""
    whole = SEPARATOR.join(parts)
    if len(whole) <= KEY_LENGTH:
        return whole
    return SEPARATOR.join([bounded(part) for part in parts])
