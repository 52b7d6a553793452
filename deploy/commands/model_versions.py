"""`medsage models list|propose|approve|decline|retire`: versions of models on this machine and in
the registry. What changes the registry is asked of the running server, with the token of the person
who decides: the server checks who that is, and that two people do it (ADR 0021)."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy import tls
from deploy.analysis import versions_here
from deploy.commands.ending import FAILED, NO_SERVER, fail
from deploy.commands.operating import opened
from deploy.commands.serve import store_settings
from fhir_server.app import defined, knowledge
from fhir_server.fhir.codec import parse
from fhir_server.fhir.model_versions import (
    AI_DEVICE,
    DEVICE_TYPES,
    Standing,
    State,
    key_of,
    standing_of,
)
from fhir_server.fhir.recalls import recalls_of
from fhir_server.search.conditional import parse_condition
from fhir_server.settings import Settings
from models.fhir_client import CallerToken, FhirClient, FhirFailure
from models.lifecycle.installed import Installed
from models.lifecycle.versions import Registered, registered

Parts = list[dict[str, Any]]
Key = Annotated[str, typer.Argument(help="The version, as `medsage models list` names it.")]
Token = Annotated[str, typer.Option(help="Access token of who decides; - reads it.")]
Reason = Annotated[str, typer.Option(help="Why.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
STANDARD_INPUT = "-"
_MOST = 1000


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("list")(list_versions)
    app.command(
        "propose",
        epilog="Example: medsage models propose KEY --to candidate --reason '…' --token -",
    )(propose)
    app.command("approve", epilog="Example: medsage models approve KEY --token -")(approve)
    app.command("decline")(decline)
    app.command("retire", epilog="Example: medsage models retire KEY --reason '…' --token -")(
        retire
    )


def list_versions(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: Data = None,
) -> None:
    """All versions: where they stand, who waits for whom, and whether their files are here."""
    settings = store_settings(data)
    rows = asyncio.run(_rows(settings, _here(settings)))
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        here = "" if row["installed"] else ", not on this machine"
        share = f", {row['share']} % of the Tasks" if row["share"] else ""
        out = f", {row['out_of_use']}: it runs no more" if row["out_of_use"] else ""
        typer.echo(f"{row['version']}: {row['state']}{share}{here}{out}")
        if row["proposal"]:
            typer.echo(f"    proposed: {row['proposal']}")


def propose(
    version: Key,
    to: Annotated[str, typer.Option(help="candidate or active.")],
    reason: Reason,
    token: Token,
    share: Annotated[int, typer.Option(help="A candidate's share of the Tasks, 0 to 50 %.")] = 0,
    verdict: Annotated[
        str | None, typer.Option(help="The comparison, as MeasureReport/ID; for active.")
    ] = None,
) -> None:
    """Propose a step; another person approves it."""
    parts: Parts = [_part("to", "Code", to), _part("reason", "String", reason)]
    if share:
        parts.append(_part("share", "Integer", share))
    if verdict is not None:
        parts.append(_part("verdict", "Reference", {"reference": verdict}))
    _decide(version, token, "model-propose", lambda known: parts, needs_files=True)


def approve(version: Key, token: Token) -> None:
    """Approve what another person proposed, as it is shown."""
    _decide(version, token, "model-approve", _as_read, needs_files=True)


def decline(version: Key, reason: Reason, token: Token) -> None:
    """Take a proposal away: somebody else's, or one's own."""
    _decide(
        version,
        token,
        "model-decline",
        lambda device: [*_as_read(device), _part("reason", "String", reason)],
    )


def retire(version: Key, reason: Reason, token: Token) -> None:
    """Take a version out of use at once; one person may."""
    _decide(version, token, "model-retire", lambda device: [_part("reason", "String", reason)])


def _decide(
    version: str,
    token: str,
    operation: str,
    parts: Callable[[dict[str, Any]], Parts],
    *,
    needs_files: bool = False,
) -> None:
    settings = store_settings(None)
    if needs_files and version not in _here(settings):
        fail(f"{version}: no files on this machine that have these hashes")
    own = given(token)

    async def work(fhir: FhirClient) -> None:
        found = next((v for v in await registered(fhir) if v.key == version), None)
        if found is None:
            fail(f"{version} is not registered; `medsage models list` names the versions")
        device = await fhir.read(found.device)
        _show_proposal(found)
        done = await fhir.operation(found.device, operation, parts(device))
        _show(version, standing_of(done))

    _on_server(settings, own, work)


def given(token: str) -> str:
    """The token as it is given, or from the standard input."""
    return sys.stdin.read().strip() if token == STANDARD_INPUT else token


def _on_server(
    settings: Settings, token: str, work: Callable[[FhirClient], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with called(settings) as http:
            await work(FhirClient(http, f"{settings.base_url}/fhir", CallerToken(token)))

    try:
        asyncio.run(run())
    except FhirFailure as failure:
        fail(failure.text, NO_SERVER if failure.status == 503 else FAILED)


def called(settings: Settings) -> httpx.AsyncClient:
    """What calls the running server."""
    return httpx.AsyncClient(timeout=30, trust_env=False, verify=tls.calling(settings))


def _here(settings: Settings) -> dict[str, Installed]:
    try:
        return versions_here(settings)
    except RuntimeError as problem:
        fail(str(problem))


async def _rows(settings: Settings, here: dict[str, Installed]) -> list[dict[str, Any]]:
    async with opened(settings) as store:
        known = knowledge(f"{settings.base_url}/fhir")
        await defined(store, known)
        asked = [("type", f"{DEVICE_TYPES}|{AI_DEVICE}")]
        page = await store.find(parse_condition(known.scope(), "Device", asked, limit=_MOST))
    devices = [parse(stored.body) for stored in page.matches]
    known_here = {key_of(d): d for d in devices if standing_of(d) is not None}
    return [_row(key, known_here.get(key), key in here) for key in sorted({*here, *known_here})]


def _row(key: str, device: dict[str, Any] | None, is_here: bool) -> dict[str, Any]:
    standing = standing_of(device) if device else None
    return {
        "version": key,
        "state": standing.state.value if standing else "not registered",
        "condition": standing.condition if standing else None,
        "share": standing.share if standing else 0,
        "installed": is_here,
        "proposal": _proposal(standing) if standing else None,
        "out_of_use": _out_of_use(device, standing) if device and standing else None,
    }


def _out_of_use(device: dict[str, Any], standing: Standing) -> str | None:
    """Why a version does not run, whatever its state says; None when it does, or was retired."""
    recall = next((each for each in recalls_of(device) if each.is_for_good), None)
    if recall is not None:
        return f"recalled {recall.requested} ({recall.reason})"
    status = device.get("status", "active")
    is_out = standing.state is not State.RETIRED and status != "active"
    return f"its Device is {status}" if is_out else None


def _proposal(standing: Standing) -> str | None:
    proposal = standing.proposal
    if proposal is None:
        return None
    share = f" with {proposal.share} % of the Tasks" if proposal.to is State.CANDIDATE else ""
    verdict = f", by {proposal.verdict}" if proposal.verdict else ""
    return (
        f"{proposal.to}{share}{verdict}, {proposal.by.reference}, {proposal.at}: {proposal.reason}"
    )


def _show_proposal(version: Registered) -> None:
    text = _proposal(version.standing)
    if text is not None:
        typer.echo(f"proposed: {text}", err=True)


def _show(version: str, standing: Standing | None) -> None:
    if standing is not None:
        waits = f"; waits for a second person: {_proposal(standing)}" if standing.proposal else ""
        typer.echo(f"{version}: {standing.state}{waits}")


def _as_read(device: dict[str, Any]) -> Parts:
    return [_part("version", "Id", device["meta"]["versionId"])]


def _part(name: str, type: str, value: object) -> dict[str, Any]:
    return {"name": name, f"value{type}": value}
