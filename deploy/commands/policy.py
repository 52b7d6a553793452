"""`medsage policy`: what a token may do, and why, on the store itself."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from deploy.commands.ending import fail
from deploy.commands.operating import opened
from deploy.commands.serve import store_settings
from fhir_server.app import defined, knowledge, policy_of
from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import FhirError
from fhir_server.interactions.context import FhirRequest
from fhir_server.operations.registry import level_of, operation_at
from fhir_server.rest.routes import BY_INTERACTION, locate_entry
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression, Query
from fhir_server.search.live import LiveSearch
from fhir_server.security.circumstances import Circumstances
from fhir_server.security.guarded_store import GuardedStore
from fhir_server.security.keys import open_key_ring
from fhir_server.security.policy import Case, Hop
from fhir_server.security.principal import Principal
from fhir_server.security.rulebook import Rulebook
from fhir_server.security.scopes import ACTIONS, Action
from fhir_server.security.tokens import TokenVerifier
from fhir_server.security.visibility import passes
from fhir_server.security.words import describe
from fhir_server.settings import Settings
from fhir_server.storage.port import Key, ResourceStore, Stored, Terms
from fhir_server.system import utc_now

app = typer.Typer(help="What a token may do, and why.", no_args_is_help=True)
TOKEN = typer.Option(help="An access token; - reads it from standard input.")
DATA = typer.Option(help="Folder of the embedded store.")
STANDARD_INPUT = "-"
_MOST_VALUES = 5


@dataclass(frozen=True)
class _Known:
    """The store, what searching means in it, the caller and the circumstances of now."""

    store: ResourceStore
    live: LiveSearch
    principal: Principal
    circumstances: Circumstances

    def case(self, type: str, action: Action) -> Case:
        return Case(self.principal, self.circumstances, self.live.now, type, action)


@app.command(epilog="Example: medsage policy explain --token - --request 'GET /Observation/1'")
def explain(
    token: Annotated[str, TOKEN],
    request: Annotated[str, typer.Option(help="Method and URL below the base.")],
    data: Annotated[Path | None, DATA] = None,
) -> None:
    """Say why a request would be allowed or refused, hop by hop. Nothing is done or recorded; the
    request is read as the token's own."""
    for line in _run(_explained(store_settings(data), _given(token), request)):
        typer.echo(line)


@app.command(epilog="Example: medsage policy simulate --token - --json < token")
def simulate(
    token: Annotated[str, TOKEN],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data: Annotated[Path | None, DATA] = None,
) -> None:
    """List what a token could see: for each type its actions, the filter, and how many resources
    of how many."""
    found = _run(_simulated(store_settings(data), _given(token)))
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    typer.echo(found["caller"])
    for row in found["types"]:
        typer.echo(f"{row['type']} {row['actions']}: {row['seen']} of {row['stored']}")
        typer.echo(f"    {row['filter']}")


def _given(token: str) -> str:
    return sys.stdin.read().strip() if token == STANDARD_INPUT else token


def _run(work: Any) -> Any:
    try:
        return asyncio.run(work)
    except FhirError as refusal:
        fail("; ".join(issue.diagnostics for issue in refusal.issues))


@asynccontextmanager
async def _opened(settings: Settings, token: str) -> AsyncIterator[_Known]:
    async with opened(settings) as store:
        known = knowledge(f"{settings.base_url}/fhir")
        await defined(store, known)
        verifier = TokenVerifier(
            store,
            await open_key_ring(store),
            issuer=f"{settings.base_url}/auth",
            audience=known.base_url,
            clock=utc_now,
        )
        principal = await verifier.verify(f"Bearer {token}")
        circumstances = await Rulebook(store, utc_now, policy_of(settings)).of(principal)
        yield _Known(store, known.live, principal, circumstances)


async def _explained(settings: Settings, token: str, asked: str) -> list[str]:
    method, _, url = asked.strip().partition(" ")
    base = f"{settings.base_url}/fhir"
    request = locate_entry(base, method.upper(), url.strip().removeprefix(base).lstrip("/"))
    async with _opened(settings, token) as known:
        lines = [f"{method.upper()} {url.strip()}: {request.interaction}", _caller(known.principal)]
        if request.type is None:
            return [*lines, "A request about no one type: each type is judged by itself (simulate)"]
        actions = _actions(request)
        stored = None
        if request.id is not None:
            stored = await known.store.get(Key(request.type, request.id))
        for action in actions:
            lines += await _about(known, known.case(request.type, action), stored)
        return lines if actions else [*lines, "No permission is needed for it"]


def _actions(request: FhirRequest) -> tuple[Action, ...]:
    """What the caller must be allowed to do with the type."""
    if request.operation is not None:
        found = operation_at(request.operation, level_of(request), request.type)
        return () if found is None else found.actions
    action = BY_INTERACTION[request.interaction].action
    return () if action is None else (action,)


async def _about(known: _Known, case: Case, stored: Stored | None) -> list[str]:
    """The hops of one action, and the verdict."""
    terms = None
    if stored is not None and not stored.is_deleted:
        terms = known.live.extract(parse(stored.body))
    lines = [f"{case.type}.{case.action}"]
    for scope, hops in case.scopes():
        lines.append(f"  {scope}")
        lines += [await _line(known, "    ", hop, terms) for hop in hops]
    lines += [await _line(known, "  ", hop, terms) for hop in case.shared_hops()]
    view = case.access.filter(case.type, case.action)
    return [*lines, f"  => {await _verdict(known, view, stored, terms)}"]


async def _line(known: _Known, indent: str, hop: Hop, terms: Terms | None) -> str:
    if terms is not None and hop.view not in (EVERYTHING, NOTHING):
        answer = "yes" if await passes(hop.view, terms, known.store.find) else "no"
    else:
        answer = {EVERYTHING: "yes", NOTHING: "no"}.get(hop.view, "in part")
    narrows = "" if hop.view in (EVERYTHING, NOTHING) else f": {describe(hop.view, _MOST_VALUES)}"
    return f"{indent}{hop.name}: {answer} ({hop.text}){narrows}"


async def _verdict(
    known: _Known, view: Expression, stored: Stored | None, terms: Terms | None
) -> str:
    if view == NOTHING:
        return "refused, 403: nothing lets the caller do this with the type"
    if terms is not None:
        if await passes(view, terms, known.store.find):
            return "allowed"
        return "404: to this caller the resource does not exist"
    if stored is not None:
        return "410 or 404: the resource was deleted; who saw it may know"
    return "allowed" if view == EVERYTHING else f"allowed, for: {describe(view, _MOST_VALUES)}"


async def _simulated(settings: Settings, token: str) -> dict[str, Any]:
    async with _opened(settings, token) as known:
        rows = []
        for type_ in sorted(resource_types()):
            row = await _row(known, type_)
            if row is not None:
                rows.append(row)
        return {"caller": _caller(known.principal), "types": rows}


async def _row(known: _Known, type_: str) -> dict[str, Any] | None:
    """What the token can do with a type; None when that is nothing."""
    access = known.case(type_, "s").access
    allowed = [action for action in ACTIONS if access.permits(type_, action)]  # type: ignore[arg-type]
    if not allowed:
        return None
    guarded = GuardedStore(known.store, access, known.live.extract)
    return {
        "type": type_,
        "actions": "".join(allowed),
        "filter": describe(access.filter(type_, "s"), _MOST_VALUES),
        "seen": await guarded.count(Query(type_)),
        "stored": await known.store.count(Query(type_)),
    }


def _caller(who: Principal) -> str:
    roles = ", ".join(sorted(who.roles)) or "service"
    patient = f", patient {who.patient}" if who.patient else ""
    return f"{who.subject} by {who.client_id}: {roles}, tenant {who.tenant}{patient}"
