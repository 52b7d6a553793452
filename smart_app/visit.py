"""One request within a session: who, which chart, and the ways to answer.

`arrive` checks everything that makes a request belong to its session, before any page runs.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from smart_app.cookies import is_bound
from smart_app.discovery import IssuerUnreachable
from smart_app.drafts import Drafts
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.forgery import comes_from_us, form_token, token_matches
from smart_app.headers import page_headers
from smart_app.launch.exchange import TokenEndpoint, TokenRefused
from smart_app.launch.scopes import allows
from smart_app.parts import Parts
from smart_app.problems import Problem
from smart_app.sessions import Grant, Session

REFRESH_BEFORE_SECONDS = 60
FORM_SLACK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Visit:
    """What a page function is handed. `form` is empty on a GET."""

    parts: Parts
    request: Request
    session: Session
    fhir: FhirClient
    form: FormData = field(default_factory=FormData)

    @property
    def drafts(self) -> Drafts:
        """What this session has entered and not sent."""
        return Drafts(self.parts.sessions, self.session.sid)

    @property
    def patient(self) -> str:
        """The id of the chart's patient; Problem `no-patient` in a session that has none yet."""
        if self.session.patient is None:
            raise Problem("no-patient")
        return self.session.patient

    def url(self, path: str = "") -> str:
        """The address of a page of this session."""
        return f"{self.parts.root}/s/{self.session.sid}/{path}"

    def text(self, name: str) -> str:
        """A text field of the form, trimmed; empty when absent."""
        value = self.form.get(name, "")
        if isinstance(value, UploadFile):
            raise Problem("bad-form")
        return value.strip()

    def allows(self, type_: str, actions: str) -> bool:
        """Whether the granted scopes include these actions (letters of `cruds`)."""
        return allows(self.session.scope, type_, actions)

    def see(self, path: str = "") -> Response:
        """Answer a form: go and see the next page (303)."""
        return RedirectResponse(self.url(path), 303, headers={"cache-control": "no-store"})

    async def own(self, type_: str, id_: str) -> Resource:
        """A resource of this chart's patient; Problem `not-found` for anybody else's, `kept-back`
        when the chart, which was there when it was opened, is not any more."""
        try:
            resource = await self.fhir.read(type_, id_)
        except FhirFailure as failure:
            if failure.status == 404:
                await self.chart()
            raise
        subject = resource.get("subject") or resource.get("for") or resource.get("patient") or {}
        if self.fhir.key(subject.get("reference", "")) != ("Patient", self.patient):
            raise Problem("not-found")
        return resource

    async def chart(self) -> Resource:
        """The Patient; Problem `kept-back` when that is not there any more."""
        try:
            return await self.fhir.read("Patient", self.patient)
        except FhirFailure as failure:
            if failure.status == 404:
                raise Problem("kept-back") from failure
            raise

    async def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """The page made from a template, with everything each page needs."""
        binding = self.session.binding
        issuer = self.parts.config.issuer(self.session.issuer)
        ancestors = issuer.frame_ancestors if issuer and not self.session.standalone else ()
        body = self.parts.templates.get_template(template).render(
            visit=self,
            session=self.session,
            csrf=form_token(self.parts.config.secret, self.session.sid, binding),
            **values,
        )
        return HTMLResponse(body, status, headers=page_headers(ancestors, ()))


async def arrive(parts: Parts, request: Request) -> Visit:
    """The visit of a request to `/s/{sid}/…`; a Problem when it must not be answered."""
    session = await parts.sessions.session(request.path_params["sid"])
    if session is None or not is_bound(request, session.binding, session.standalone):
        raise Problem("session-ended")
    grant = await parts.sessions.grant(session.grant)
    if grant is None:
        # Signed out in another session of the same sign-in.
        raise Problem("session-ended")
    fhir = _own_chart(parts, session, grant)
    if request.method in {"GET", "HEAD"}:
        return Visit(parts, request, session, fhir)
    if not comes_from_us(request, parts.origin):
        raise Problem("forged")
    most = max(parts.config.max_upload_bytes, parts.config.max_total_bytes)
    form = await read_form(request, most)
    expected = form_token(parts.config.secret, session.sid, session.binding)
    if not token_matches(expected, str(form.get("csrf", ""))):
        raise Problem("forged")
    if str(form.get("expected_patient", "")) != (session.patient or ""):
        raise Problem("other-patient")
    return Visit(parts, request, session, fhir, form)


async def read_form(request: Request, max_bytes: int) -> FormData:
    """The form of a request of bounded, declared length."""
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdigit():
        raise Problem("bad-form")
    if int(length) > max_bytes + FORM_SLACK_BYTES:
        raise Problem("too-large")
    try:
        return await request.form(max_files=50, max_fields=200, max_part_size=64 * 1024)
    # too many fields, or one that is too long; or the browser went away before the end of it
    except (HTTPException, ClientDisconnect) as problem:
        raise Problem("bad-form") from problem


def _own_chart(parts: Parts, session: Session, grant: Grant) -> FhirClient:
    """The server that the pages work on: the session's own, or ours with the copy of its chart,
    to which the token is confined."""
    if session.origin is None:
        token = partial(_token, parts, grant)
        return FhirClient(parts.http, session.fhir_base, token, batches=True)
    if parts.config.issuer(session.issuer) is None:
        # It was registered when the session began, and is not any more.
        raise Problem("unknown-issuer")
    return parts.in_chart(session.patient or "")


async def _token(parts: Parts, grant: Grant) -> str:
    """As `token_of`; the grant that came with the request is not looked up again while it is
    good. Signing out meanwhile revokes its token, which the FHIR server refuses then."""
    if grant.expires_at - parts.clock().timestamp() > REFRESH_BEFORE_SECONDS:
        return grant.access_token
    return await token_of(parts, grant.id)


async def token_of(parts: Parts, grant_id: str) -> str:
    """A good access token of a grant, refreshed when needed; Problem `session-ended` or
    `reconnect` when there is none any more."""
    grant = await parts.sessions.grant(grant_id)
    if grant is None:
        raise Problem("session-ended")
    now = parts.clock()
    if grant.expires_at - now.timestamp() > REFRESH_BEFORE_SECONDS:
        return grant.access_token
    if grant.refresh_token is None:
        if grant.expires_at > now.timestamp():
            return grant.access_token
        raise Problem("reconnect")
    if not await parts.sessions.store.claim(f"refreshing:{grant.id}", 20):
        # Another request is refreshing: refresh tokens are used once, so wait for its result.
        return await _refreshed_by_another(parts, grant_id, grant.access_token)
    issuer = parts.config.issuer(grant.fhir_base)
    if issuer is None:
        raise Problem("unknown-issuer")
    try:
        endpoint = TokenEndpoint(parts.http, issuer, await parts.configuration(issuer))
        fresh = await endpoint.refresh(grant, now)
        await parts.sessions.keep_grant(fresh)
    except TokenRefused as error:
        raise Problem("reconnect") from error
    except IssuerUnreachable as error:
        raise FhirFailure(0) from error
    finally:
        await parts.sessions.store.delete(f"refreshing:{grant.id}")
    return fresh.access_token


async def _refreshed_by_another(parts: Parts, grant_id: str, old: str) -> str:
    for _ in range(50):
        await asyncio.sleep(0.1)
        grant = await parts.sessions.grant(grant_id)
        if grant is None:
            break
        if grant.access_token != old:
            return grant.access_token
    raise Problem("reconnect")
