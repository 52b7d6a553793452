"""The pages that people see here: server-rendered, without script, ready for translation."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response


def marked(text: str) -> str:
    """Mark a text for the translation catalogue; the template translates it when it is shown."""
    return text


@dataclass(frozen=True)
class Problem:
    """Why a page can't be shown: what happened and what to do, in plain words."""

    code: str
    title: str
    advice: str
    status: int = 400


UNKNOWN_CLIENT = Problem(
    "unknown-app",
    marked("This app is not registered here"),
    marked("Ask your administrator to register the app, then start it again."),
)
BAD_REDIRECT = Problem(
    "unregistered-address",
    marked("The app asked to be answered at an address that is not registered for it"),
    marked(
        "Nothing was sent there. Ask your administrator to compare the app's registered "
        "redirect addresses, letter by letter, with those it uses."
    ),
)
BAD_REQUEST = Problem(
    "unreadable-request",
    marked("The request can't be read"),
    marked("Go back to your record system and start the app again."),
)
REQUEST_EXPIRED = Problem(
    "request-expired",
    marked("This sign-in took too long, or was already finished"),
    marked("Go back to the app or to your record system and start again."),
)
FORM_EXPIRED = Problem(
    "form-expired",
    marked("This form has expired, or did not come from this server's own page"),
    marked("Open the page again and repeat what you entered. Cookies must be allowed."),
    status=403,
)
NOT_FOUND = Problem(
    "no-such-page",
    marked("There is no such page"),
    marked("Go back to the app or to your record system."),
    status=404,
)
NO_ACCESS = Problem(
    "no-access",
    marked("You can't sign in here now"),
    marked("Your account here is disabled. Ask your administrator."),
    status=403,
)
NO_ROLE = Problem(
    "no-role",
    marked("You have no role in MedSAGE"),
    marked(
        "The sign-in worked, but nobody has given you a role here. Ask your administrator, and "
        "say with which account you signed in."
    ),
    status=403,
)
PROVIDER_FAILED = Problem(
    "provider-failed",
    marked("The sign-in at the other provider did not work"),
    marked("Start again. If it happens once more, sign in another way or ask your administrator."),
    status=502,
)
TOO_MANY_ATTEMPTS = Problem(
    "too-many-attempts",
    marked("Too many attempts"),
    marked("Wait a quarter of an hour, then try again."),
    status=429,
)
NOT_FOR_YOU = Problem(
    "not-for-you",
    marked("This page is for administrators"),
    marked("Ask an administrator for what you need, or to give you the role."),
    status=403,
)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fhir_server.security.authorization"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The i18n extension adds this method at run time.
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    environment.globals["stylesheet"] = stylesheet_path()
    return environment


def page(
    template: str,
    *,
    status: int = 200,
    frame_origins: Iterable[str] = (),
    form_targets: Iterable[str] = (),
    **values: Any,
) -> Response:
    """A page with its security headers. `frame_origins` may frame it (nobody, if empty);
    `form_targets` are origins besides this one that its form may end up at by redirect."""
    html = _environment().get_template(template).render(**values)
    return HTMLResponse(html, status, headers=_headers(frame_origins, form_targets))


def problem_page(
    problem: Problem, request_id: str, frame_origins: Iterable[str] = (), root: str = ""
) -> Response:
    """An error page that names the cause, the remedy, and the id to quote to support. `root` is
    the way to the top of the pages here."""
    return page(
        "problem.html",
        status=problem.status,
        frame_origins=frame_origins,
        problem=problem,
        request_id=request_id,
        root=root,
    )


@cache
def _css() -> bytes:
    return (files(__package__) / "templates" / "pages.css").read_bytes()


@cache
def stylesheet_path() -> str:
    """Where the style sheet is, below the pages. Another content has another name, so that caches
    may keep it for good."""
    return f"static/pages.{hashlib.sha256(_css()).hexdigest()[:12]}.css"


async def stylesheet(_request: object) -> Response:
    """The style sheet of the pages."""
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_css(), media_type="text/css", headers=headers)


def _headers(frame_origins: Iterable[str], form_targets: Iterable[str]) -> dict[str, str]:
    framed_by = " ".join(frame_origins) or "'none'"
    sends_to = " ".join(["'self'", *dict.fromkeys(form_targets)])
    return {
        "Content-Security-Policy": (
            "default-src 'none'; style-src 'self'; base-uri 'none'; "
            f"form-action {sends_to}; frame-ancestors {framed_by}; "
            "require-trusted-types-for 'script'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
