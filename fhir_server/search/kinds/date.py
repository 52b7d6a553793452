"""Date parameters (R4 Search, "date"): every date is a range, in the query and in the resource."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_server.fhir.dates import TimeRange, microseconds, time_range
from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasRange, all_of, any_of
from fhir_server.search.kinds.asked import Asked, Entry, Extraction, KindOfParameter
from fhir_server.search.kinds.ordered import both, split_prefix
from fhir_server.search.kinds.text import unescape
from fhir_server.search.terms import above, instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(value: Any, _: Extraction) -> Entry:
    """A date, dateTime or instant: from where its precision begins to where it ends."""
    try:
        low, high = _instant_range(value) if len(value) > 19 else time_range(value)
    except ValueError:  # no calendar has it, so no search can ask for it
        return []
    return [("<", instant(low)), (">", instant(high))]


def _instant_range(text: str) -> tuple[int, int]:
    """What `time_range` gives for a time with seconds and zone, several times faster."""
    fraction = len(text) - (21 if text[-1] == "Z" else 26)
    if fraction > 6 or text[17:19] == "60":
        return time_range(text)
    low = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    return low, low + 10 ** (6 - max(fraction, 0))


def period(value: Any, extraction: Extraction) -> Entry:
    """A Period; a missing side is open: earlier, or later, than any date."""
    start, end = value.get("start"), value.get("end")
    low = moment(start, extraction) if start is not None else [("<", terms.LOWEST)]
    high = moment(end, extraction) if end is not None else [(">", terms.HIGHEST)]
    if (start is None and end is None) or not (low and high):
        return []
    return [low[0], high[-1]]


def timing(value: Any, extraction: Extraction) -> Entry:
    """The outer limits of a Timing: its events and the bounds of its repetition."""
    found = [moment(event, extraction) for event in value.get("event", ()) if event is not None]
    bounds = (value.get("repeat") or {}).get("boundsPeriod")
    if bounds is not None:
        found.append(period(bounds, extraction))
    limits = [entry for entry in found if entry]
    if not limits:
        return []
    return [min(entry[0] for entry in limits), max(entry[-1] for entry in limits)]


def compared(asked: Asked, value: str) -> Expression:
    """Some date compares with this one as the prefix says."""
    try:
        prefix, text = split_prefix(unescape(value))
        wanted = time_range(text)
    except ValueError as problem:
        raise asked.refuse(str(problem)) from None
    return _test(asked, prefix, wanted)


def includes(asked: Asked, value: str) -> Expression:
    """Some date has all of this one in it (`co` of a filter: "an item in the set's implicit period
    includes the stated value")."""
    begin, end = _bounds(asked, value)
    low = HasRange(asked.key + "<", None, above(begin))
    return _one(asked, low, HasRange(asked.key + ">", end, None))


def overlaps(asked: Asked, value: str) -> Expression:
    """Some date has a moment in common with this one (`po` of a filter)."""
    begin, end = _bounds(asked, value)
    low = HasRange(asked.key + "<", None, end)
    return _one(asked, low, HasRange(asked.key + ">", above(begin), None))


def _bounds(asked: Asked, value: str) -> tuple[str, str]:
    try:
        wanted = time_range(unescape(value))
    except ValueError as problem:
        raise asked.refuse(str(problem)) from None
    return instant(wanted.low), instant(wanted.high)


def _test(asked: Asked, prefix: str, wanted: TimeRange) -> Expression:
    def low(start: str | None, end: str | None) -> HasRange:
        return HasRange(asked.key + "<", start, end)

    def high(start: str | None, end: str | None) -> HasRange:
        return HasRange(asked.key + ">", start, end)

    begin, end = instant(wanted.low), instant(wanted.high)
    match prefix:
        case "eq":  # the range asked for contains the range of the resource
            return _one(asked, low(begin, end), high(above(begin), above(end)))
        case "ne":
            return any_of([low(None, begin), high(above(end), None)])
        case "gt":
            return high(above(end), None)
        case "lt":
            return low(None, begin)
        case "ge":
            return any_of([high(above(end), None), low(begin, None)])
        case "le":
            return any_of([low(None, begin), high(None, above(end))])
        case "sa":
            return low(end, None)
        case "eb":
            return high(None, above(begin))
        case "ap":  # the ranges overlap, ten percent of the distance to now on each side
            slack = abs(microseconds(asked.now) - wanted.low) // 10
            begin, end = instant(wanted.low - slack), instant(wanted.high + slack)
            return _one(asked, low(None, end), high(above(begin), None))
        case _:
            raise ValueError(f"not a prefix: {prefix}")


def _one(asked: Asked, low: HasRange, high: HasRange) -> Expression:
    return both(asked.key, low, high) if asked.is_repeating else all_of([low, high])


DATE = KindOfParameter(
    encoders={
        **dict.fromkeys(("date", "dateTime", "instant"), moment),
        "Period": period,
        "Timing": timing,
    },
    modifiers={"": compared},
)
