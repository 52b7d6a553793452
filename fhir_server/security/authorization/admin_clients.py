"""`/admin/clients`: an administrator decides about the apps that registered themselves. What is
approved is what was seen: the form carries the revision of the registration."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization.admin import AREA
from fhir_server.security.authorization.approval import (
    NotDecidable,
    approve_client,
    pending_clients,
    reject_client,
)
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.pages import marked
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.scope_words import Line, describe
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    trail,
    user_principal,
)
from fhir_server.security.authorization.visit import Visit, posted, visit
from fhir_server.storage.port import Transaction

_DONE = {
    "approve": marked("The app is approved, and works from now on."),
    "reject": marked("The app is rejected."),
}
_PROOFS = {
    "none": marked("It proves itself by nothing but its address: a public app"),
    "private_key_jwt": marked("It proves itself by a key of its own"),
    "client_secret_basic": marked("It proves itself by a secret"),
}


@dataclass(frozen=True)
class SeenClient:
    """A client that waits, as an administrator judges it."""

    client: Client
    revision: int
    proof: str
    lines: tuple[Line, ...]


async def show_clients(server: AuthorizationServer, request: Request) -> Response:
    """GET: the apps that wait, those that came first before the others."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    return await _page(server, found, done=_DONE.get(request.query_params.get("done", ""), ""))


async def decide_client(server: AuthorizationServer, request: Request) -> Response:
    """POST: approve an app, with the scopes that were left ticked, or reject it."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    action = form.get("action", "")
    if action not in _DONE or not form.get("revision", "").isdecimal():
        return await _page(server, found, marked("There is no such action"))
    who = user_principal(found.user, "", session=found.session.id)
    audit = trail(server, request, who)

    async def unit(tx: Transaction) -> None:
        client = await _decided(tx, action, form)
        if client.tenant != found.user.tenant:
            raise NotDecidable(f"no client {client.id} is registered")
        said = f"{client.id} {'approved' if action == 'approve' else 'rejected'}: {client.scopes}"
        entry = audit.entry(
            interaction="client-registration", outcome="success", status=200, detail=said
        )
        await tx.journal(entry)

    try:
        await commit(server, unit)
    except NotDecidable as problem:
        return await _page(server, found, str(problem))
    return RedirectResponse(f"clients?done={action}", 303, {"Cache-Control": "no-store"})


async def _decided(tx: Transaction, action: str, form: Parameters) -> Client:
    id, revision = form.get("client", ""), int(form["revision"])
    if action == "reject":
        return await reject_client(tx, id, revision=revision)
    ticked = [value for name, value in form.items() if name.startswith("scope-")]
    if not ticked:
        raise NotDecidable("No scope is ticked: an app that may ask for nothing is of no use")
    return await approve_client(tx, id, revision=revision, scopes=" ".join(ticked))


async def _page(
    server: AuthorizationServer, found: Visit, message: str = "", done: str = ""
) -> Response:
    waiting = [
        SeenClient(
            one.client, one.revision, _PROOFS[one.client.method], tuple(describe(one.client.scopes))
        )
        for one in await pending_clients(server.store)
        if one.client.tenant == found.user.tenant
    ]
    return found.show(
        "admin_clients.html",
        status=400 if message else 200,
        waiting=waiting,
        message=message,
        done=done,
    )
