"""`/logout`: end a session, the grants made in it, and with them every token, at once (OpenID
Connect RP-Initiated Logout 1.0).

An app proves which session it means by the `id_token_hint` that it was given; a person by the
session cookie and our own form. Grants with offline_access outlive the session, as their users
allowed.
"""

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization.browser import (
    browser_session,
    forget_session,
    is_own_form,
    session_secret,
)
from fhir_server.security.authorization.openid_client import ProviderProblem
from fhir_server.security.authorization.pages import (
    BAD_REQUEST,
    FORM_EXPIRED,
    Problem,
    page,
    problem_page,
)
from fhir_server.security.authorization.parameters import Parameters, parse_parameters, read_form
from fhir_server.security.authorization.records import Session, apply, value_of
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    find_client,
    journal_refusal,
    request_id,
    trail,
    user_principal,
)
from fhir_server.security.authorization.sign_in import signed_in_page
from fhir_server.security.authorization.standing import Standing, end
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import user_from
from fhir_server.security.keys import IDENTITY_ALGORITHM
from fhir_server.security.tokens import UNREADABLE
from fhir_server.storage.port import Record, Transaction

_PURPOSE = "logout"


async def sign_out(server: AuthorizationServer, request: Request) -> Response:
    """GET or POST. With an `id_token_hint` the session is ended; without, a GET asks and a POST
    of our own form ends the browser's session."""
    try:
        if request.method == "POST":
            parameters = await read_form(request)
        else:
            parameters = parse_parameters(request.url.query)
    except OAuth2Error as refusal:
        return await _problem(server, request, BAD_REQUEST, str(refusal.description))
    if "id_token_hint" in parameters:
        return await _for_app(server, request, parameters)
    session = await browser_session(server, request)
    if session is None:
        return page("signed_out.html", provider=None, there=None)
    secret = session_secret(server, request) or ""
    if request.method != "POST":
        return await signed_in_page(server, request, session.value["user"])
    if not is_own_form(request, parameters.get("csrf"), secret, _PURPOSE):
        return await _problem(server, request, FORM_EXPIRED, "foreign sign-out form")
    provider, there = await _at_provider(server, session)
    await _end(server, request, session.id, "")
    answer = page("signed_out.html", provider=provider, there=there)
    forget_session(server, answer)
    return answer


async def _at_provider(
    server: AuthorizationServer, session: Record
) -> tuple[str | None, str | None]:
    """The other provider that the session came from, and where to sign out there too, if it says
    so and can be reached."""
    value = value_of(Session, session)
    client = server.openid.get(value.provider or "")
    if client is None or value.provider_token is None:
        return None, None
    try:
        there = await client.end_session_url(value.provider_token, f"{server.issuer}/logout")
    except ProviderProblem:
        there = None
    return client.provider.name, there


async def _for_app(
    server: AuthorizationServer, request: Request, parameters: Parameters
) -> Response:
    try:
        # An expired id_token still says whose session it was; its signature is what counts.
        token = await server.keys.read(parameters["id_token_hint"], IDENTITY_ALGORITHM)
    except UNREADABLE:
        return await _problem(server, request, BAD_REQUEST, "id_token_hint is not ours")
    client = await find_client(server, token.claims.get("aud"))
    if client is None or token.claims.get("iss") != server.issuer:
        return await _problem(server, request, BAD_REQUEST, "id_token_hint is not ours")
    back = parameters.get("post_logout_redirect_uri")
    if back is not None and back not in client.post_logout_redirect_uris:
        detail = "post_logout_redirect_uri is not registered"
        return await _problem(server, request, BAD_REQUEST, detail)
    session_id = token.claims.get("sid")
    if session_id is not None:
        await _end(server, request, session_id, client.id)
    if back is None:
        answer: Response = page("signed_out.html", provider=None, there=None)
    else:
        state = [("state", parameters["state"])] if "state" in parameters else []
        headers = {"Cache-Control": "no-store"}
        answer = RedirectResponse(add_params_to_uri(back, state), 303, headers)
    own = await browser_session(server, request)
    if own is None:
        forget_session(server, answer)
    return answer


async def _end(
    server: AuthorizationServer, request: Request, session_id: str, client_id: str
) -> None:
    async def unit(tx: Transaction) -> None:
        record = await tx.record(Session.KIND, session_id)
        if record is None:
            return
        user = await tx.record(USER, record.value["user"])
        await apply(tx, end(Standing(sessions=(record,))))
        principal = user_principal(user_from(user), client_id, session=session_id) if user else None
        entry = trail(server, request, principal).entry(
            interaction="logout", outcome="success", status=200
        )
        await tx.journal(entry)

    await commit(server, unit)


async def _problem(
    server: AuthorizationServer, request: Request, problem: Problem, detail: str
) -> Response:
    await journal_refusal(server, request, "logout", status=problem.status, detail=detail)
    return problem_page(problem, request_id(server, request))
