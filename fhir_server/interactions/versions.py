"""Version-aware requests and conditional reads (R4 RESTful API, "Managing Resource Contention")."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fhir_server.fhir.outcome import bad_parameter, precondition_failed
from fhir_server.storage.port import Stored

ANY = 0
"""What `*` stands for in If-Match: any current version."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ETAG = re.compile(r'(?:W/)?"([1-9][0-9]{0,17})"')
_ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag(version: int) -> str:
    """The weak ETag of a version."""
    return f'W/"{version}"'


def http_date(moment: datetime) -> str:
    """The moment (UTC) as an HTTP date, which has whole seconds."""
    # email.utils does the same, in three times the time; every answer has one.
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    time = f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    return f"{day}, {moment.day:02} {month} {moment.year:04} {time} GMT"


def version_of(text: str, name: str) -> int:
    """The version that one ETag of the header `name` stands for; ANY for `*`; 400 otherwise."""
    if text.strip() == "*":
        return ANY
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise bad_parameter(f'{name}: {text} is not an ETag of this server such as W/"3"')
    return int(found[1])


def require_match(if_match: str | None, current: Stored | None) -> None:
    """412 unless `current` exists and is the version that If-Match names (if it names any)."""
    if if_match is None:
        return
    wanted = version_of(if_match, "If-Match")
    if current is None or current.is_deleted:
        raise precondition_failed("If-Match: there is no current version of this resource")
    if wanted not in (ANY, current.version):
        raise precondition_failed(
            f"If-Match names version {wanted}, the current version is {current.version}"
        )


def require_none_match(if_none_match: str | None, current: Stored | None) -> None:
    """412 when a write with If-None-Match (RFC 9110) meets a version that it names."""
    if if_none_match is None or current is None or current.is_deleted:
        return
    if _names(if_none_match, current.version):
        raise precondition_failed("If-None-Match: the resource exists in the version it names")


def is_unmodified(stored: Stored, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Whether a conditional read is answered by 304; If-None-Match wins (RFC 9110, 13.1.3)."""
    if if_none_match is not None:
        return _names(if_none_match, stored.version)
    if if_modified_since is not None:
        since = _moment(if_modified_since)
        return since is not None and stored.updated.replace(microsecond=0) <= since
    return False


def tags_of(if_none_match: str) -> Sequence[str]:
    """The tags in quotes, without what marks them as weak; `*` for any; 400 otherwise."""
    if if_none_match.strip() == "*":
        return ("*",)
    tags: Sequence[str] = _ENTITY_TAG.findall(if_none_match)
    if not tags or _ENTITY_TAG.sub("", if_none_match).strip(", \t"):
        raise bad_parameter(f'If-None-Match: {if_none_match} is no list of ETags such as W/"3"')
    return tags


def _names(if_none_match: str, version: int) -> bool:
    """A tag that another server made is a tag like any other, and none of this version."""
    tags = tags_of(if_none_match)
    return "*" in tags or f'"{version}"' in tags


def _moment(text: str) -> datetime | None:
    """None for what is no date: RFC 9110, 13.1.3, has it ignored, where all else is refused."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
