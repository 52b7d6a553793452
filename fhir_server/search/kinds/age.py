"""Patient `age` (R4 Patient, Search Parameters): whole years from the date of birth to now, of
patients who are not known to be dead. The definition names no element; see docs/spec-readings.md,
"Patient `age`"."""

from datetime import UTC, date, datetime, time, timedelta

from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasRange, HasTerm, Not, all_of, any_of
from fhir_server.search.kinds.asked import Asked, KindOfParameter
from fhir_server.search.kinds.ordered import split_prefix
from fhir_server.search.kinds.text import unescape

OLDEST = 200
"""Ages beyond are refused: they are a mistake, and no calendar goes back for ever."""


def compared(asked: Asked, value: str) -> Expression:
    """The patient is as old as the prefix and the number of years say."""
    try:
        prefix, text = split_prefix(unescape(value))
    except ValueError as problem:
        raise asked.refuse(str(problem)) from None
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= OLDEST):
        raise asked.refuse(f"{value!r} is not a whole number of years from 0 to {OLDEST}")
    return all_of([_aged(asked, prefix, int(text)), Not(_is_dead(asked))])


def _aged(asked: Asked, prefix: str, years: int) -> Expression:
    key = asked.key.partition(".")[0] + ".birthdate"

    def least(age: int) -> Expression:
        """Born so early, perhaps, that the age has been reached."""
        return HasRange(key + "<", None, _birthday_passed(asked.now, age))

    def below(age: int) -> Expression:
        """Born so late, perhaps, that the age has not been reached."""
        return HasRange(key + ">", terms.above(_birthday_passed(asked.now, age)), None)

    match prefix:
        case "eq":
            return _between(asked, key, years, years)
        case "ne":
            return any_of([below(years), least(years + 1)])
        case "ge":
            return least(years)
        case "gt" | "sa":
            return least(years + 1)
        case "lt" | "eb":
            return below(years)
        case "le":
            return below(years + 1)
        case "ap":
            return _between(asked, key, -(-9 * years // 10), 11 * years // 10)
        case _:
            raise ValueError(f"not a prefix: {prefix}")


def _between(asked: Asked, key: str, youngest: int, oldest: int) -> Expression:
    """Born, for certain, so that the age is one of these."""
    first = _birthday_passed(asked.now, oldest + 1)
    after = _birthday_passed(asked.now, youngest)
    return all_of(
        [HasRange(key + "<", first, after), HasRange(key + ">", first, terms.above(after))]
    )


def _birthday_passed(now: datetime, age: int) -> str:
    """The start of the day on which nobody was born who has that age today, as the first."""
    today = now.astimezone(UTC).date()
    year = max(today.year - age, 1)
    is_leap_day = (today.month, today.day) == (2, 29)
    born = today.replace(year=year, day=28) if is_leap_day else today.replace(year=year)
    if is_leap_day and _has_leap_day(year):
        born = today.replace(year=year)
    start = datetime.combine(born + timedelta(days=1), time(), UTC)
    return terms.instant((start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


def _has_leap_day(year: int) -> bool:
    return (date(year, 3, 1) - timedelta(days=1)).day == 29


def _is_dead(asked: Asked) -> Expression:
    key = asked.key.partition(".")[0] + ".deceased"
    return HasTerm(key, terms.joined("true", ""))


AGE = KindOfParameter(encoders={}, modifiers={"": compared})
