"""`/external` and `/external-callback`: sign-in at another OpenID provider.

People are known again by the provider's issuer and their subject there, never by a name or an
address, which could be given to somebody else. Who comes for the first time becomes a user if the
role table of the settings gives them a role.
"""

import re
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization import people
from fhir_server.security.authorization.browser import form_secret, keep_form_secret
from fhir_server.security.authorization.links import link_of, link_record
from fhir_server.security.authorization.openid_client import Identity, ProviderProblem
from fhir_server.security.authorization.pages import (
    NO_ROLE,
    NOT_FOUND,
    PROVIDER_FAILED,
    REQUEST_EXPIRED,
    TOO_MANY_ATTEMPTS,
    Problem,
    problem_page,
)
from fhir_server.security.authorization.people import Desk, RefusedChange
from fhir_server.security.authorization.providers import Provider
from fhir_server.security.authorization.records import (
    ExternalSignIn,
    PendingSignIn,
    apply,
    delete,
    digest,
    insert,
    value_of,
)
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    address_of,
    commit,
    journal_refusal,
    request_id,
    trail,
)
from fhir_server.security.authorization.sessions import errand_of
from fhir_server.security.authorization.sign_in_steps import advance
from fhir_server.security.authorization.users import (
    KIND,
    NO_PASSWORD,
    BadUser,
    User,
    check_user,
    is_person,
    user_from,
    user_record,
)
from fhir_server.storage.port import Record, Transaction

_READABLE = re.compile(r"[a-z0-9][a-z0-9._@-]{0,79}")
_WINDOW_SECONDS = 15 * 60
_MOST_PER_ADDRESS = 50


class _Refused(Exception):
    """The sign-in ends with a page; `detail` is for the audit trail."""

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail


async def start_external(server: AuthorizationServer, request: Request) -> Response:
    """GET: send the browser to the provider, with state, nonce and PKCE of this one attempt."""
    provider = server.rules.provider(request.query_params.get("provider"))
    if provider is None:
        return problem_page(NOT_FOUND, request_id(server, request))
    errand = await errand_of(server, request.query_params)
    if errand is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    hits = await server.counters.hit(f"external {address_of(request)}", _WINDOW_SECONDS)
    if hits.hits > _MOST_PER_ADDRESS:
        return await _end(server, request, _Refused(TOO_MANY_ATTEMPTS, "too many sign-ins"))
    state, nonce, verifier = (server.new_secret() for _ in range(3))
    secret = form_secret(server, request) or server.new_secret()
    begun = ExternalSignIn(
        provider.id, nonce, verifier, digest(secret), request=errand.handle, page=errand.page
    )
    try:
        url = await server.openid[provider.id].authorization_url(state, nonce, verifier)
    except ProviderProblem as problem:
        return await _end(server, request, _Refused(PROVIDER_FAILED, str(problem)))
    effects = insert(begun, digest(state), server.now() + server.lifetimes.request)
    await server.store.transaction(lambda tx: apply(tx, effects))
    answer = RedirectResponse(url, 302, {"Cache-Control": "no-store"})
    keep_form_secret(server, answer, secret)
    return answer


async def finish_external(server: AuthorizationServer, request: Request) -> Response:
    """GET: the browser comes back with a code."""
    try:
        begun = await _spend_state(server, request)
        provider = server.rules.provider(begun.provider)
        if provider is None:
            raise _Refused(REQUEST_EXPIRED, "the provider is no longer in the settings")
        identity = await _identity(server, request, begun)
        user = await _person(server, request, provider, identity)
    except _Refused as refusal:
        return await _end(server, request, refusal)
    fields = {"request": begun.request or "", "page": begun.page}
    errand = await errand_of(server, fields)
    if errand is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    arrival = PendingSignIn(
        user,
        begun.browser,
        has_proved=provider.asks_second_factor,
        provider=provider.id,
        provider_token=identity.token,
    )
    return await advance(server, request, arrival, errand)


async def _spend_state(server: AuthorizationServer, request: Request) -> ExternalSignIn:
    """The attempt that the state names, used up, in the browser that began it."""
    state, secret = request.query_params.get("state"), form_secret(server, request)
    if not state or secret is None:
        raise _Refused(REQUEST_EXPIRED, "no state, or no cookie")

    async def unit(tx: Transaction) -> Record | None:
        record = await tx.record(ExternalSignIn.KIND, digest(state))
        await apply(tx, delete(ExternalSignIn.KIND, digest(state)))
        return record

    record = await commit(server, unit)
    begun = None if record is None else value_of(ExternalSignIn, record)
    if begun is None or begun.browser != digest(secret):
        raise _Refused(REQUEST_EXPIRED, "the state is unknown, used, or of another browser")
    return begun


async def _identity(
    server: AuthorizationServer, request: Request, begun: ExternalSignIn
) -> Identity:
    """Who the provider says it is; refused also when the answer names another issuer (RFC 9207),
    or none where the provider promises to name itself."""
    client, answer = server.openid[begun.provider], request.query_params
    try:
        metadata = await client.metadata()
        promised = metadata.get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", None if promised else client.provider.issuer) != metadata["issuer"]:
            raise ProviderProblem("the answer is of another issuer")
        if "error" in answer or "code" not in answer:
            raise ProviderProblem(f"the provider answered {answer.get('error', 'no code')[:80]!r}")
        return await client.identity(answer["code"], begun.verifier, begun.nonce)
    except ProviderProblem as problem:
        raise _Refused(PROVIDER_FAILED, f"{begun.provider}: {problem}") from problem


async def _person(
    server: AuthorizationServer, request: Request, provider: Provider, identity: Identity
) -> str:
    """The user whom the identity is; made now, or given the roles of now, as the table says."""
    roles = provider.roles_of(identity.claims)
    link = await link_of(server.store, identity.claims)
    if link is not None and not link.value["is_managed"]:
        return str(link.value["user"])
    if not roles:
        raise _Refused(NO_ROLE, f"{provider.id}: no role for this person")
    desk = Desk(server.store, trail(server, request), f"provider {provider.id}")
    try:
        if link is None:
            return await _create(desk, provider, identity, roles)
        record = await server.store.record(KIND, link.value["user"])
        if record is not None and user_from(record).roles != roles:
            await people.change_roles(desk, record.id, roles)
        return str(link.value["user"])
    except (RefusedChange, BadUser) as refusal:
        raise _Refused(NO_ROLE, f"{provider.id}: {refusal}") from refusal


async def _create(desk: Desk, provider: Provider, identity: Identity, roles: frozenset[str]) -> str:
    claims = identity.claims
    name = str(claims.get(provider.name_claim) or claims["sub"])[:200]
    person = claims.get(provider.fhir_user_claim or "")
    user = User(
        _name_for(provider, str(claims["sub"])),
        name,
        roles,
        person if isinstance(person, str) and is_person(person) else None,
        tenant=provider.tenant,
    )
    check_user(user)
    link = link_record(claims["iss"], claims["sub"], user.id, is_managed=True)
    said = f"first sign-in at {provider.id}; roles: {', '.join(sorted(roles))}"
    entry = desk.entry("user-create", user.id, said)

    async def unit(tx: Transaction) -> None:
        if await tx.record(KIND, user.id) is not None:
            raise RefusedChange(f"There is a user {user.id} already")
        await tx.put_record(user_record(user, NO_PASSWORD), 0)
        await tx.put_record(link, 0)
        await tx.journal(entry)

    await desk.commit(unit)
    return user.id


async def _end(server: AuthorizationServer, request: Request, refusal: _Refused) -> Response:
    problem, detail = refusal.problem, refusal.detail
    await journal_refusal(server, request, "login", status=problem.status, detail=detail)
    return problem_page(problem, request_id(server, request))


def _name_for(provider: Provider, subject: str) -> str:
    """A sign-in name that no local user's can be taken for: theirs have no colon."""
    if _READABLE.fullmatch(subject):
        return f"{provider.id}:{subject}"
    return f"{provider.id}:{sha256(subject.encode()).hexdigest()[:32]}"
