"""`/authorize`: from an app's request to a code (SMART App Launch 2.2, "Obtain authorization
code").

Refusals go back to the app by redirect once its redirect URI is known to be registered, and to a
page before. What the endpoint decides is in authorize.py and launch.py; here it is loaded,
applied in one unit with its audit records, and answered.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidRequestError,
    OAuth2Error,
)
from authlib.oidc.core.errors import (
    ConsentRequiredError,
    InteractionRequiredError,
    LoginRequiredError,
)
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization.authorize import (
    Authorization,
    Secrets,
    check_scope,
    granted_scope,
    is_redirect_registered,
    issue_code,
    read_request,
)
from fhir_server.security.authorization.browser import browser_session
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.consents import consent_to, is_remembered
from fhir_server.security.authorization.context import context_of, next_step
from fhir_server.security.authorization.launch import judge_launch
from fhir_server.security.authorization.openid_parameters import (
    check_user,
    hinted_user,
    must_sign_in_again,
    prompts_for,
    prompts_sign_in,
)
from fhir_server.security.authorization.pages import (
    BAD_REDIRECT,
    BAD_REQUEST,
    UNKNOWN_CLIENT,
    Problem,
    problem_page,
)
from fhir_server.security.authorization.parameters import Parameters, parse_parameters, read_form
from fhir_server.security.authorization.records import (
    AuthorizationRequest,
    Launch,
    Session,
    apply,
    delete,
    digest,
    insert,
    value_of,
)
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    client_principal,
    commit,
    find_client,
    journal_refusal,
    request_id,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import active_user, user_from
from fhir_server.storage.port import Record, Transaction


async def authorize(server: AuthorizationServer, request: Request) -> Response:
    """GET or form POST of an authorization request."""
    try:
        parameters = await _parameters(request)
    except OAuth2Error as refusal:
        return await refuse_with_page(server, request, BAD_REQUEST, str(refusal.description))
    client = await find_client(server, parameters.get("client_id"))
    if client is None:
        return await refuse_with_page(server, request, UNKNOWN_CLIENT, "unknown client_id")
    redirect_uri = parameters.get("redirect_uri")
    if not is_redirect_registered(client, redirect_uri):
        detail = f"redirect_uri is not registered for {client.id}"
        return await refuse_with_page(server, request, BAD_REDIRECT, detail, client)
    return await _answer(server, request, parameters, client)


async def _answer(
    server: AuthorizationServer, request: Request, parameters: Parameters, client: Client
) -> Response:
    asked = None
    try:
        asked, handle = read_request(
            parameters,
            client,
            audience=server.fhir_base,
            now=server.now(),
            binding=server.new_secret(),
        )
        user = await hinted_user(parameters, server.keys, server.issuer)
        asked = replace(asked, hinted_user=user)
        session = await browser_session(server, request)
        if handle is not None:
            asked, session = await _launched(server, asked, digest(handle), session)
        return await proceed(server, request, asked, session)
    except OAuth2Error as refusal:
        target = (parameters["redirect_uri"], parameters.get("state"))
        return await refuse_by_redirect(server, request, client, target, refusal)


async def _launched(
    server: AuthorizationServer,
    asked: AuthorizationRequest,
    launch_id: str,
    session: Record | None,
) -> tuple[AuthorizationRequest, Record]:
    """The request with its launch, and the EHR's session, which signs the user in."""
    signed_in = session.value["user"] if session else None
    record = await server.store.record(Launch.KIND, launch_id)
    launch = judge_launch(record, asked.client_id, signed_in)
    ehr_session = await server.store.record(Session.KIND, launch.session)
    if ehr_session is None:
        raise AccessDeniedError("the session in the EHR has ended; sign in there again")
    if prompts_sign_in(asked) or must_sign_in_again(asked, ehr_session):
        raise LoginRequiredError("a launch does not ask for a password; sign in at the EHR")
    return replace(asked, launch=launch_id, session=ehr_session.id), ehr_session


async def proceed(
    server: AuthorizationServer,
    request: Request,
    asked: AuthorizationRequest,
    session: Record | None,
    handle: str | None = None,
) -> Response:
    """Go as far as can be gone now: to the sign-in page, a page to choose a patient or a visit,
    the consent page, or back to the app with a code. `handle` names the kept request, if it has
    been kept. Raises an OAuth2Error to send back by redirect."""
    client = await find_client(server, asked.client_id)
    if client is None:
        raise AccessDeniedError("the client is no longer registered")
    if session is None or must_sign_in_again(asked, session):
        if asked.prompt == "none":
            raise LoginRequiredError("nobody is signed in")
        handle = handle or await _keep(server, asked)
        return _redirect(request, f"login?request={handle}")
    check_user(asked, session)
    launch = await load_launch(server, asked)
    step = next_step(asked, client, launch[1] if launch else None, session.id)
    if step is not None:
        check_scope(asked, client)
        if asked.prompt == "none":
            raise InteractionRequiredError(f"the user has to choose the {step}")
        handle = handle or await _keep(server, asked)
        return _redirect(request, f"{step}?request={handle}")
    must_ask = prompts_for(asked, "consent")
    if must_ask or not client.is_preapproved:
        allowed = None if must_ask else await _allowed_before(server, asked, client, session)
        if allowed:
            asked = replace(asked, scope=allowed)
            return await give_code(server, request, asked, session.id, handle)
        if asked.prompt == "none":
            raise ConsentRequiredError("the user has to be asked")
        handle = handle or await _keep(server, asked)
        return _redirect(request, f"consent?request={handle}")
    return await give_code(server, request, asked, session.id, handle)


async def _allowed_before(
    server: AuthorizationServer, asked: AuthorizationRequest, client: Client, session: Record
) -> str | None:
    """What a remembered consent gives the request, if it answers it."""
    consent = await consent_to(server.store, session.value["user"], client.id)
    if consent is None or not is_remembered(client, asked.redirect_uri):
        return None
    launch, record = await load_launch(server, asked), await server.store.record(USER, consent.user)
    user = None if record is None else user_from(record)
    scope = granted_scope(asked, client, launch[1] if launch else None, user=user)
    return consent.answers(scope)


async def load_launch(
    server: AuthorizationServer, asked: AuthorizationRequest
) -> tuple[Record, Launch] | None:
    """The launch of a kept request, judged again."""
    if asked.launch is None:
        return None
    record = await server.store.record(Launch.KIND, asked.launch)
    launch = judge_launch(record, asked.client_id, None)
    if record is None:
        raise InvalidRequestError("the launch has expired")
    return record, launch


async def give_code(
    server: AuthorizationServer,
    request: Request,
    asked: AuthorizationRequest,
    session_id: str,
    handle: str | None,
) -> Response:
    """Issue the code and send it to the app; the kept request and the launch are used up in the
    same unit."""
    code = server.new_secret()
    secrets = Secrets(code, digest(code), server.new_id())
    client = await find_client(server, asked.client_id)
    if client is None:
        raise AccessDeniedError("the client is no longer registered")

    async def unit(tx: Transaction) -> None:
        if handle and await tx.record(AuthorizationRequest.KIND, digest(handle)) is None:
            raise InvalidRequestError("the request was already answered")
        allowed = await _load(tx, asked, client, session_id)
        await apply(tx, issue_code(allowed, secrets, server.lifetimes, server.now()))
        if handle:
            await apply(tx, delete(AuthorizationRequest.KIND, digest(handle)))
        user_record = await tx.record(USER, allowed.user)
        principal = (
            client_principal(client)
            if user_record is None
            else user_principal(user_from(user_record), client.id, session=session_id)
        )
        entry = trail(server, request, principal).entry(
            interaction="authorize",
            outcome="success",
            status=302,
            patient=context_of(asked, allowed.launch[1] if allowed.launch else None)["patient"],
            detail=f"granted: {allowed.scope}",
        )
        await tx.journal(entry)

    await commit(server, unit)
    answer = [("code", code), ("state", asked.state), ("iss", server.issuer)]
    return _redirect(request, add_params_to_uri(asked.redirect_uri, answer))


async def _load(
    tx: Transaction, asked: AuthorizationRequest, client: Client, session_id: str
) -> Authorization:
    session = await tx.record(Session.KIND, session_id)
    user = None if session is None else await active_user(tx, session.value["user"])
    if session is None or user is None:
        raise AccessDeniedError("the session has ended")
    record = launch = None
    if asked.launch is not None:
        record = await tx.record(Launch.KIND, asked.launch)
        launch = judge_launch(record, client.id, user.id)
    if next_step(asked, client, launch, session.id) is not None:
        raise AccessDeniedError("the patient was chosen in another session; start again")
    scope = granted_scope(asked, client, launch, user=user_from(user))
    used = (record, launch) if record and launch else None
    return Authorization(asked, scope, user.id, session, used)


async def load_request(
    server: AuthorizationServer, handle: str | None
) -> AuthorizationRequest | None:
    """The request that was kept under the handle, while it lives."""
    if not handle:
        return None
    record = await server.store.record(AuthorizationRequest.KIND, digest(handle))
    return None if record is None else value_of(AuthorizationRequest, record)


async def refuse_with_page(
    server: AuthorizationServer,
    request: Request,
    problem: Problem,
    detail: str,
    client: Client | None = None,
) -> Response:
    """An error page, where there is no registered address to send the error to."""
    await journal_refusal(
        server, request, "authorize", status=problem.status, detail=detail, client=client
    )
    frames = client.frame_origins if client else ()
    return problem_page(problem, request_id(server, request), frames)


async def refuse_by_redirect(
    server: AuthorizationServer,
    request: Request,
    client: Client,
    target: tuple[str, str | None],
    refusal: OAuth2Error,
) -> Response:
    """The error, sent to the registered redirect URI with the request's state."""
    redirect_uri, state = target
    detail = f"{refusal.error}: {refusal.get_error_description()}"
    await journal_refusal(server, request, "authorize", status=302, detail=detail, client=client)
    answer = [*refusal.get_body(), ("iss", server.issuer)]
    if state is not None:
        answer.append(("state", state))
    return _redirect(request, add_params_to_uri(redirect_uri, answer))


async def _keep(server: AuthorizationServer, asked: AuthorizationRequest) -> str:
    handle = server.new_secret()
    effects = insert(asked, digest(handle), server.now() + server.lifetimes.request)
    await server.store.transaction(lambda tx: apply(tx, effects))
    return handle


async def _parameters(request: Request) -> Parameters:
    if request.method == "POST":
        return await read_form(request)
    return parse_parameters(request.url.query)


def _redirect(request: Request, url: str) -> Response:
    # RFC 9700: after a POST only 303 keeps the browser from sending the form on.
    status = 303 if request.method == "POST" else 302
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, status, headers)


def form_targets(asked: AuthorizationRequest | None) -> tuple[str, ...]:
    """The origin that a form of this request ends up at, for the page's form-action."""
    if asked is None:
        return ()
    parts = urlsplit(asked.redirect_uri)
    return (f"{parts.scheme}://{parts.netloc}",)
