"""What a scanner looks for in answers: one check for each row, each the problem of an answer."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

MARK = "zap7"
HOSTILE = f"'\"><{MARK} onload=x>"
"""Comes back in no page as it was sent."""
FOREIGN = "https://evil.example"
_ONCE = (
    *("x-content-type-options", "referrer-policy", "cache-control", "content-security-policy"),
    *("x-request-id", "strict-transport-security", "content-type"),
)
_TELLS_OF_THE_INSIDE = re.compile(
    r"Traceback|uvicorn|starlette|fastapi|site-packages|\.py\b|sqlite|mongodb|/root/", re.IGNORECASE
)
_MAY_BE_KEPT = re.compile(
    r"no-store|private, no-cache|public, max-age=(300|3600)|public, max-age=31536000, immutable"
)
_MAY_BE_READ_BY_ALL = ("/jwks", "/.well-known/", "/fhir/metadata", "/smart-style")
_FORBIDDEN_METHODS = frozenset({"TRACE", "CONNECT", "PROPFIND", "DEBUG"})


@dataclass(frozen=True)
class Seen:
    """An answer, and what was asked for."""

    method: str
    path: str
    answer: httpx.Response

    @property
    def kind(self) -> str:
        """The media type of its body."""
        return self.answer.headers.get("content-type", "").partition(";")[0]

    @property
    def policy(self) -> dict[str, str]:
        """The directives of its content security policy."""
        parts = self.answer.headers.get("content-security-policy", "").split(";")
        return {name: value for name, _, value in (part.strip().partition(" ") for part in parts)}


def _headers_stand_once(seen: Seen) -> Iterator[str]:
    for name in _ONCE:
        count = len(seen.answer.headers.get_list(name))
        if count > 1 or (not count and name != "content-type"):
            yield f"{name} stands {count} times"


def _nothing_is_guessed(seen: Seen) -> Iterator[str]:
    if seen.answer.headers.get("x-content-type-options") != "nosniff":
        yield "the type of its content may be guessed"
    if seen.answer.content and not seen.kind:
        yield "its content has no type"
    if seen.kind.startswith("text/") and "charset=utf-8" not in seen.answer.headers["content-type"]:
        yield "its text has no charset"


def _caches_are_told(seen: Seen) -> Iterator[str]:
    told = seen.answer.headers.get("cache-control", "")
    if not _MAY_BE_KEPT.fullmatch(told):
        yield f"caches are told {told!r}"
    if "public" in told and (seen.answer.status_code != 200 or "set-cookie" in seen.answer.headers):
        yield "a refusal or a cookie may be kept for all"


def _policy_is_tight(seen: Seen) -> Iterator[str]:
    policy = seen.policy
    if policy.get("default-src") != "'none'":
        yield "its policy does not begin with nothing"
    if "frame-ancestors" not in policy or "*" in policy["frame-ancestors"]:
        yield "anybody may frame it"
    if seen.kind == "text/html" and policy.get("base-uri") != "'none'":
        yield "its links may be based elsewhere"
    for name in ("script-src", "style-src", "object-src", "default-src"):
        if re.search(r"unsafe|data:|\*|https?:", policy.get(name, "")):
            yield f"its policy lets in {name} {policy[name]}"


def _transport_is_strict(seen: Seen) -> Iterator[str]:
    told = re.match(r"max-age=(\d+)", seen.answer.headers.get("strict-transport-security", ""))
    if told is None or int(told[1]) < 31_536_000:
        yield "browsers are not told to stay with TLS"


def _nothing_is_told_of_the_inside(seen: Seen) -> Iterator[str]:
    for name in ("server", "x-powered-by", "x-aspnet-version", "via"):
        if name in seen.answer.headers:
            yield f"it says {name}: {seen.answer.headers[name]}"
    is_text = seen.kind in ("text/html", "text/plain", "application/json")
    is_meant = seen.path.startswith(("/api/metrics", "/openapi.json", "/models"))
    if seen.answer.status_code >= 400 and is_text and not is_meant:
        found = _TELLS_OF_THE_INSIDE.search(seen.answer.text)
        if found:
            yield f"it tells of {found[0]}"


def _nothing_comes_back(seen: Seen) -> Iterator[str]:
    is_shown = seen.kind in ("text/html", "text/plain", "image/svg+xml")
    if is_shown and f"<{MARK}" in seen.answer.text:
        yield "what was sent comes back as markup"
    if "evil.example" in seen.answer.headers.get("location", ""):
        yield f"it leads to {seen.answer.headers['location']}"
    if seen.kind == "text/html" and "evil.example" in seen.answer.text:
        yield "its links lead to the host that the request named"


def _cookies_are_tied(seen: Seen) -> Iterator[str]:
    if seen.path.startswith("/ehr"):
        return  # it stands for somebody else's server, in development alone
    for cookie in seen.answer.headers.get_list("set-cookie"):
        name, _, rest = cookie.partition("=")
        flags = {part.strip().partition("=")[0].lower(): part for part in rest.split(";")[1:]}
        missing = {"secure", "httponly", "samesite", "path"} - flags.keys()
        if missing or "domain" in flags:
            yield f"cookie {name} lacks {sorted(missing)} or names a domain"
        if not name.startswith(("__Host-", "__Secure-")):
            yield f"cookie {name} has no prefix"
        if name.startswith("__Host-") and flags.get("path", "").strip().lower() != "path=/":
            yield f"cookie {name} is not for the whole host"
        if "samesite=none" in rest.lower() and "partitioned" not in flags:
            yield f"cookie {name} goes to every site"


def _others_may_not_read(seen: Seen) -> Iterator[str]:
    allowed = seen.answer.headers.get("access-control-allow-origin")
    if "access-control-allow-credentials" in seen.answer.headers:
        yield "pages of others may send cookies along"
    if allowed == "*" and not any(part in seen.path for part in _MAY_BE_READ_BY_ALL):
        yield "every page may read it"
    own = f"{seen.answer.url.scheme}://{seen.answer.url.host}"
    if allowed not in (None, "*", own):
        yield f"{allowed} may read it"


def _methods_are_few(seen: Seen) -> Iterator[str]:
    if seen.method in _FORBIDDEN_METHODS and not 400 <= seen.answer.status_code < 500:
        yield f"{seen.method} is answered {seen.answer.status_code}"
    if seen.answer.status_code >= 500:
        yield f"{seen.method} is answered {seen.answer.status_code}"


CHECKS: tuple[Callable[[Seen], Iterator[str]], ...] = (
    _headers_stand_once,
    _nothing_is_guessed,
    _caches_are_told,
    _policy_is_tight,
    _transport_is_strict,
    _nothing_is_told_of_the_inside,
    _nothing_comes_back,
    _cookies_are_tied,
    _others_may_not_read,
    _methods_are_few,
)


def problems(seen: Seen) -> list[str]:
    """All that a scanner would report of the answer."""
    place = f"{seen.method} {seen.path} ({seen.answer.status_code})"
    return [f"{place}: {problem}" for check in CHECKS for problem in check(seen)]
