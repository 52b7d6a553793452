"""An age in years, exact on every monthly birthday, and what of it was not known."""

from dataclasses import dataclass
from datetime import date

OLDEST_YEARS = 130
# UCUM code of a stated age → its share of a year. UCUM's own year has 365.25 days.
_SHARE_OF_A_YEAR = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25}


@dataclass(frozen=True)
class Age:
    """`years` is None when unknown; `remark` says what could not be used as it stood."""

    years: float | None = None
    remark: str = ""


def at(born: date, today: date) -> float:
    """Completed months as twelfths of a year, and the share of the month that runs: the limits of
    the rules lie on birthdays, and a year of 365.2425 days misses most of them by a day. Who is
    born on a day that a month lacks has the birthday on the first of the next month."""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    last, following = _months_after(born, months), _months_after(born, months + 1)
    return (months + (today - last).days / (following - last).days) / 12


def from_birth_date(birth_date: object, today: date) -> Age:
    """A birth date without day or month is taken in its middle, and not after today. One in the
    future, or too long ago for anyone alive, is a mistake and gives no age."""
    if not isinstance(birth_date, str):
        return Age()
    parts = [int(part) for part in birth_date.split("-")]
    earliest = date(*[*parts, 1, 1][:3])
    if earliest > today:
        return Age(remark="Birth date in the future: left out, please correct it.")
    born = date(*[*parts, *((7, 1) if len(parts) == 1 else (15,))][:3])
    if born > today:
        born = earliest + (today - earliest) / 2
    years = at(born, today)
    if years > OLDEST_YEARS:
        return Age(remark=f"Birth date more than {OLDEST_YEARS} years ago: left out.")
    if len(parts) == 3:
        return Age(years)
    known = "year" if len(parts) == 1 else "month"
    return Age(years, f"Birth date known to the {known} only: the age was taken from its middle.")


def stated(value: float, unit: str | None) -> Age:
    """An age that was told in years, months, weeks or days (UCUM)."""
    if unit not in _SHARE_OF_A_YEAR:
        given = f"{value:g} {unit or 'without a unit'}"
        return Age(remark=f"Age of {given}: left out, the unit is not known here.")
    years = value * _SHARE_OF_A_YEAR[unit]
    if not 0 <= years <= OLDEST_YEARS:
        return Age(remark=f"Age of {value:g} {unit}: left out, no patient can have it.")
    return Age(years)


def _months_after(born: date, months: int) -> date:
    year, month = divmod(born.year * 12 + born.month - 1 + months, 12)
    try:
        return date(year, month + 1, born.day)
    except ValueError:
        return date(year, month + 2, 1)  # only months before December lack a day
