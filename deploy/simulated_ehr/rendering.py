"""Pages of the simulated EHR: templates, security headers, error pages."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from deploy.simulated_ehr.oauth import Server
from deploy.simulated_ehr.sessions import PATH, Sessions


@dataclass(frozen=True)
class SimulatedEhr:
    """What the pages are given. `origins` are the addresses that the EHR is opened at, the first
    being its own; `app_id` is the client that it launches, found at `app_origin`."""

    server: Server
    sessions: Sessions
    origins: tuple[str, ...]
    app_id: str
    app_origin: str

    def origin_of(self, request: Request) -> str:
        """The registered address that the request came to; the first one if it is none."""
        asked = f"//{request.headers.get('host', '')}"
        return next((one for one in self.origins if one.endswith(asked)), self.origins[0])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("deploy.simulated_ehr"),
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


def render(ehr: SimulatedEhr, template: str, status: int = 200, **values: Any) -> Response:
    """A page; it may hold frames of the app and of its authorization server, and be framed by
    nobody."""
    framed = " ".join(sorted({ehr.app_origin, ehr.server.issuer.removesuffix("/auth")}))
    headers = {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; frame-src {framed}; "
            f"form-action 'self' {framed}; base-uri 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    html = _environment().get_template(template).render(root=PATH, **values)
    return HTMLResponse(html, status, headers)


def problem(ehr: SimulatedEhr, title: str, reason: str, status: int) -> Response:
    """An error page: what could not be done, why, and the way back."""
    return render(ehr, "problem.html", status, title=title, reason=reason, user_name=None)


@cache
def _css() -> bytes:
    return (files(__package__) / "templates" / "ehr.css").read_bytes()


@cache
def stylesheet_path() -> str:
    """Where the style sheet is; another content has another name."""
    return f"/static/ehr.{hashlib.sha256(_css()).hexdigest()[:12]}.css"


async def stylesheet(_: Request) -> Response:
    """The style sheet."""
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_css(), media_type="text/css", headers=headers)
