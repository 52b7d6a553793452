"""Dates, times and ages as clinicians read them: unambiguous, western digits, zone named."""

from datetime import UTC, date, datetime
from functools import cache

from babel import Locale
from babel.dates import format_date

from smart_app.language import gettext as _
from smart_app.language import language, ngettext


def show_date(value: str | None) -> str:
    """A FHIR date or dateTime of any precision as `dd-Mmm-yyyy`; "Not known" when absent."""
    if not value:
        return _("Not known")
    day = value[:10]
    match len(day):
        case 10:
            return _written(date.fromisoformat(day), "dd-MMM-yyyy")
        case 7:
            return _written(date.fromisoformat(f"{day}-01"), "MMM-yyyy")
        case _:
            return day


def show_time(value: str | None) -> str:
    """A FHIR dateTime or instant as `dd-Mmm-yyyy hh:mm UTC`; a mere date stays a date."""
    if not value or len(value) <= 10:
        return show_date(value)
    moment = datetime.fromisoformat(value).astimezone(UTC)
    day = _written(moment.date(), "dd-MMM-yyyy")
    return f"{day} {moment:%H:%M} UTC"


def show_clock(value: str) -> str:
    """The time of day of an instant, to the second."""
    return f"{datetime.fromisoformat(value).astimezone(UTC):%H:%M:%S} UTC"


def show_age(born: str | None, today: date) -> str:
    """The age on `today`: in days below a month, in months below two years, else in years. A
    birth date known to the year only gives an approximate age."""
    if not born:
        return _("age not known")
    if len(born) < 10:
        return _("about %(years)s y") % {"years": today.year - int(born[:4])}
    birth = date.fromisoformat(born[:10])
    days = (today - birth).days
    months = (today.year - birth.year) * 12 + today.month - birth.month
    months -= today.day < birth.day
    if days < 31:
        return ngettext("%(n)s day", "%(n)s days", days) % {"n": days}
    if months < 24:
        return ngettext("%(n)s month", "%(n)s months", months) % {"n": months}
    return _("%(n)s y") % {"n": months // 12}


def _written(day: date, pattern: str) -> str:
    return format_date(day, pattern, locale=_locale(language()))


@cache
def _locale(language: str) -> Locale:
    # babel reads the name of a language anew each time, and a page has many dates.
    return Locale.parse(language)
