"""`medsage issuer`: the record systems that may launch the app."""

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy import tls
from deploy.commands.ending import NO_SERVER, UNUSABLE, fail
from deploy.commands.serve import read_settings
from deploy.keys import MissingSecret, keys_of
from fhir_server.settings import Settings
from smart_app.discovery import IssuerUnreachable, discover, fetch_json
from smart_app.ehr.checks import Check, judge
from smart_app.issuers import Issuer
from smart_app.launch.foreign_scopes import WRITABLE
from smart_app.registered import (
    BadRegistration,
    Registration,
    issuer_of,
    parsed,
    read_registrations,
    write_registrations,
)

app = typer.Typer(help="Record systems that may launch the app.", no_args_is_help=True)
Base = Annotated[str, typer.Argument(help="The record system's FHIR base URL (its `iss`).")]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
EXAMPLE = (
    "Example: medsage issuer add https://ehr.example/fhir --name 'General Hospital' --client-id "
    "ABC --write-back DiagnosticReport --write-back Observation"
)


@app.command("add", epilog=EXAMPLE)
def add(
    base: Base,
    name: Annotated[str, typer.Option(help="Name as clinicians see it.")],
    client_id: Annotated[str, typer.Option(help="The app's client id there.")],
    key_file: Annotated[str | None, typer.Option(help="Private JWK; the app's key else.")] = None,
    secret_file: Annotated[str | None, typer.Option(help="File with the client secret.")] = None,
    public: Annotated[bool, typer.Option("--public", help="A client without proof.")] = False,
    scopes: Annotated[str | None, typer.Option(help="Asked for instead of the usual.")] = None,
    write_back: Annotated[
        list[str] | None, typer.Option(help=f"What may be sent: {', '.join(WRITABLE)}.")
    ] = None,
    frame_ancestor: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may frame the app.")
    ] = None,
    acts_alone: Annotated[
        bool, typer.Option("--acts-alone", help="May send in its own name (backend services).")
    ] = False,
    data: Data = None,
) -> None:
    """Register a record system, or change how it is registered; in force at once."""
    ways = {"key": key_file, "secret": secret_file, "public": "" if public else None}
    chosen = {way: file for way, file in ways.items() if file is not None}
    if len(chosen) > 1:
        fail("one of --key-file, --secret-file and --public", UNUSABLE)
    way, file = next(iter(chosen.items()), ("app-key", ""))
    given: dict[str, Any] = {
        "name": name,
        "fhir_base": base,
        "client_id": client_id,
        "authentication": way,
        "file": file or None,
        "scopes": scopes,
        "write_back": write_back or (),
        "frame_ancestors": frame_ancestor or (),
        "acts_alone": acts_alone,
    }
    settings = read_settings({"data": data})
    registration = _sound(settings, given)
    others = [r for r in _listed(settings) if r.fhir_base != registration.fhir_base]
    write_registrations(settings.issuers_file, [*others, registration])
    typer.echo(f"{registration.fhir_base} may launch MedSAGE. Register it there with")
    typer.echo(f"  launch URL    {settings.base_url}/app/launch")
    typer.echo(f"  redirect URL  {settings.base_url}/app/callback")
    if way in {"app-key", "key"}:
        typer.echo(f"  key set       {settings.base_url}/app/jwks.json")


@app.command("list")
def list_(data: Data = None) -> None:
    """The registered record systems, without their secrets."""
    for each in _listed(read_settings({"data": data})):
        sent = ", ".join(each.write_back) or "nothing"
        typer.echo(
            f"{each.fhir_base}  {each.name}  client {each.client_id} ({each.authentication})  "
            f"sends {sent}"
        )


@app.command("remove")
def remove(base: Base, data: Data = None) -> None:
    """Take a record system away; its sessions end, the copies of its charts stay."""
    settings = read_settings({"data": data})
    listed = _listed(settings)
    others = [each for each in listed if each.fhir_base != base.rstrip("/")]
    if len(others) == len(listed):
        fail(f"{base} is not registered")
    write_registrations(settings.issuers_file, others)
    typer.echo(f"{base} may not launch MedSAGE any more")


@app.command("test")
def ask(base: Base, data: Data = None) -> None:
    """Ask a registered record system what it offers; 1 when something that is needed is missing."""
    settings = read_settings({"data": data})
    found = next((e for e in _listed(settings) if e.fhir_base == base.rstrip("/")), None)
    if found is None:
        fail(f"{base} is not registered: nothing is asked of it")
    try:
        checks = asyncio.run(_ask(_issuer(settings, found), tls.calling(settings)))
    except IssuerUnreachable as problem:
        fail(f"{base}: {problem}", NO_SERVER)
    for check in checks:
        typer.echo(f"{check.state:8} {check.text}")
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(1)


async def _ask(issuer: Issuer, trusted: ssl.SSLContext) -> list[Check]:
    async with httpx.AsyncClient(trust_env=False, verify=trusted) as http:
        found = await discover(http, issuer.fhir_base)
        try:
            statement = await fetch_json(
                http, f"{issuer.fhir_base}/metadata", "application/fhir+json"
            )
        except IssuerUnreachable:
            statement = None
        return list(judge(issuer, found, statement))


def _listed(settings: Settings) -> list[Registration]:
    try:
        return read_registrations(settings.issuers_file)
    except BadRegistration as problem:
        fail(str(problem), UNUSABLE)


def _sound(settings: Settings, given: dict[str, Any]) -> Registration:
    try:
        registration = parsed(given, str(given["fhir_base"]))
    except BadRegistration as problem:
        fail(str(problem), UNUSABLE)
    _issuer(settings, registration)
    return registration


def _issuer(settings: Settings, registration: Registration) -> Issuer:
    try:
        key = keys_of(settings).app
        return issuer_of(registration, settings.issuers_file.parent, key)
    except (BadRegistration, MissingSecret) as problem:
        fail(str(problem), UNUSABLE)
