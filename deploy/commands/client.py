"""`medsage client`: the register of OAuth clients, changed in the store directly."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any

import typer

from deploy.commands import client_options as options
from deploy.commands.ending import fail
from deploy.commands.operating import noted, opened
from deploy.commands.serve import store_settings
from fhir_server.app import tenants_of
from fhir_server.security.authorization.approval import (
    NotDecidable,
    approve_client,
    end_grants,
    reject_client,
    remove_client,
)
from fhir_server.security.authorization.client_metadata import client_from_metadata, metadata_of
from fhir_server.security.authorization.client_secret import with_secret
from fhir_server.security.authorization.clients import (
    KIND,
    BadRegistration,
    Client,
    client_from,
    every_client,
    record_of,
    register_client,
)
from fhir_server.security.authorization.records import digest
from fhir_server.security.tenants import DEFAULT
from fhir_server.settings import Settings
from fhir_server.storage.port import Transaction, VersionConflict

app = typer.Typer(
    help="Apps, backend services and EHRs that may ask for tokens.", no_args_is_help=True
)


@app.command(
    epilog="Example: medsage client add charts --name Charts --public "
    "--redirect-uri https://charts.example.org/callback --scope 'openid launch patient/*.rs'"
)
def add(
    client_id: options.ClientId,
    name: options.Name = None,
    scope: options.Scope = None,
    redirect_uri: options.RedirectUri = None,
    launch_uri: options.LaunchUri = None,
    logout_uri: options.LogoutUri = None,
    backend: options.Backend = False,
    jwks_uri: options.JwksUri = None,
    jwks: options.Jwks = None,
    secret: options.Secret = False,
    public: options.Public = False,
    metadata: options.Metadata = None,
    frame_origin: options.FrameOrigin = None,
    first_party: options.FirstParty = False,
    ehr: options.Ehr = False,
    resource_server: options.ResourceServer = False,
    tenant: options.Tenant = DEFAULT,
    data: options.Data = None,
) -> None:
    """Register a client, which works at once. It proves itself in one way: --jwks-uri, --jwks,
    --secret or --public."""
    members = {
        "client_name": name,
        "scope": scope,
        "redirect_uris": redirect_uri,
        "initiate_login_uri": launch_uri,
        "post_logout_redirect_uris": logout_uri,
        "grant_types": ["client_credentials"] if backend else None,
        "jwks_uri": jwks_uri,
    }
    given = {name: value for name, value in members.items() if value}
    proof = _Proof(jwks_uri, jwks, secret, public)
    made = token_urlsafe(32)
    try:
        read = _metadata(given, proof) if metadata is None else _file(metadata, given, proof)
        client = client_from_metadata(client_id, read, secrets=(digest(made),))
        client = replace(
            client,
            frame_origins=tuple(frame_origin or ()),
            is_preapproved=first_party,
            is_ehr=ehr,
            is_resource_server=resource_server,
            tenant=tenant,
        )
        _insert(store_settings(data), client)
    except BadRegistration as problem:
        fail(str(problem))
    except VersionConflict:
        fail(f"{client_id} is registered already; remove it first")
    typer.echo(f"{client_id} is registered ({client.method})")
    if client.secrets:
        typer.echo(f"secret, shown this once: {made}")


@app.command("list", epilog="Example: medsage client list --pending")
def list_clients(
    pending: Annotated[
        bool, typer.Option("--pending", help="Only those that wait for approval.")
    ] = False,
    data: options.Data = None,
) -> None:
    """The clients: id, status, how each proves itself, and its name."""
    for client in asyncio.run(_all(store_settings(data))):
        if client.status == "pending" or not pending:
            typer.echo(f"{client.id}  {client.status}  {client.method}  {client.name}")


@app.command(epilog="Example: medsage client show charts")
def show(client_id: options.ClientId, data: options.Data = None) -> None:
    """Everything that is registered of a client, as JSON; secrets are not kept."""
    found = [one for one in asyncio.run(_all(store_settings(data))) if one.id == client_id]
    if not found:
        fail(f"no client {client_id} is registered")
    client = found[0]
    own = {
        "client_id": client.id,
        "status": client.status,
        "secrets": len(client.secrets),
        "first_party": client.is_preapproved,
        "ehr": client.is_ehr,
        "resource_server": client.is_resource_server,
        "frame_origins": list(client.frame_origins),
        "tenant": client.tenant,
        "registered_itself": client.registration is not None,
    }
    typer.echo(json.dumps({**metadata_of(client), **own}, indent=2, ensure_ascii=False))


@app.command(epilog="Example: medsage client approve ID --scope 'openid patient/*.rs'")
def approve(
    client_id: options.ClientId,
    scope: Annotated[
        str | None, typer.Option(help="Grant at most these of the scopes that it asked for.")
    ] = None,
    tenant: options.Tenant = DEFAULT,
    data: options.Data = None,
) -> None:
    """Let a client that registered itself work."""
    try:
        _check_tenant(store_settings(data), tenant)
    except BadRegistration as problem:
        fail(str(problem))
    approval = partial(approve_client, client_id=client_id, scopes=scope, tenant=tenant)
    client = _decided(data, client_id, "approved", approval)
    typer.echo(f"{client_id} works from now on, with at most: {client.scopes}")


@app.command(epilog="Example: medsage client reject ID")
def reject(client_id: options.ClientId, data: options.Data = None) -> None:
    """Refuse a client that registered itself; it can read so."""
    _decided(data, client_id, "refused", lambda tx: reject_client(tx, client_id))
    typer.echo(f"{client_id} was refused")


@app.command("rotate-secret", epilog="Example: medsage client rotate-secret charts")
def rotate_secret(
    client_id: options.ClientId,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="The old secret is not good any more.")
    ] = False,
    data: options.Data = None,
) -> None:
    """Make a new secret, shown once. The one before it stays good until the next rotation."""
    made = token_urlsafe(32)

    async def rotated(tx: Transaction) -> Client:
        record = await tx.record(KIND, client_id)
        if record is None or not record.value.get("secrets"):
            raise NotDecidable(f"no client {client_id} with a secret is registered")
        client = with_secret(client_from(record), made, keeps_old=not drop_old)
        kept = record_of(client)
        await tx.put_record(replace(kept, expires=record.expires), record.revision)
        return client

    client = _decided(data, client_id, "given a new secret", rotated)
    typer.echo(
        f"{client_id} has {len(client.secrets)} secrets; the new one, shown this once: {made}"
    )


@app.command(epilog="Example: medsage client remove charts")
def remove(client_id: options.ClientId, data: options.Data = None) -> None:
    """Take a client out of the register, and end everything that was granted to it."""
    _decided(data, client_id, "removed", lambda tx: remove_client(tx, client_id))
    ended = asyncio.run(_end_grants(store_settings(data), client_id))
    typer.echo(f"{client_id} is registered no more; {ended} grants ended")


def _decided(
    data: Path | None,
    client_id: str,
    what: str,
    decide: Callable[[Transaction], Awaitable[Client]],
) -> Client:
    """Carry out a decision together with its audit record."""
    settings = store_settings(data)
    entry = noted(settings, "client-registration", f"{client_id} {what}")

    async def unit(tx: Transaction) -> Client:
        client = await decide(tx)
        await tx.journal(entry)
        return client

    async def run() -> Client:
        async with opened(settings) as store:
            return await store.transaction(unit)

    try:
        return asyncio.run(run())
    except (NotDecidable, VersionConflict) as problem:
        fail(str(problem) or f"{client_id} was changed by somebody else just now")


def _insert(settings: Settings, client: Client) -> None:
    _check_tenant(settings, client.tenant)
    if settings.profile != "dev" and client.jwks_uri and not client.jwks_uri.startswith("https:"):
        raise BadRegistration("jwks_uri: must be https")
    entry = noted(settings, "client-registration", f"{client.id} registered")

    async def unit(tx: Transaction) -> None:
        await register_client(tx, client, expected=0)
        await tx.journal(entry)

    async def run() -> None:
        async with opened(settings) as store:
            await store.transaction(unit)

    asyncio.run(run())


async def _all(settings: Settings) -> list[Client]:
    async with opened(settings) as store:
        return [client for client, _ in await every_client(store)]


async def _end_grants(settings: Settings, client_id: str) -> int:
    async with opened(settings) as store:
        return await end_grants(store, client_id)


def _check_tenant(settings: Settings, tenant: str) -> None:
    if tenant not in tenants_of(settings):
        raise BadRegistration(f"MEDSAGE_TENANTS names no tenant {tenant!r}")


@dataclass(frozen=True)
class _Proof:
    """How the options say that the client proves itself."""

    jwks_uri: str | None
    jwks: Path | None
    has_secret: bool
    is_public: bool

    @property
    def ways(self) -> int:
        return sum(map(bool, (self.jwks_uri, self.jwks, self.has_secret, self.is_public)))


def _metadata(given: Mapping[str, Any], proof: _Proof) -> dict[str, Any]:
    """The options as metadata; BadRegistration when they don't say how the client proves
    itself."""
    if proof.ways != 1:
        raise BadRegistration("one of --jwks-uri, --jwks, --secret and --public is needed")
    method = "private_key_jwt"
    if proof.has_secret or proof.is_public:
        method = "client_secret_basic" if proof.has_secret else "none"
    keys = {} if proof.jwks is None else {"jwks": _json_file(proof.jwks)}
    grants = ["authorization_code", "refresh_token"]
    return {"grant_types": grants, **given, **keys, "token_endpoint_auth_method": method}


def _file(metadata: Path, given: Mapping[str, Any], proof: _Proof) -> dict[str, Any]:
    if given or proof.ways:
        raise BadRegistration("--metadata says it all: leave the other options out")
    return _json_file(metadata)


def _json_file(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise BadRegistration(f"{path} can't be read as JSON") from problem
    if not isinstance(read, dict):
        raise BadRegistration(f"{path} has no JSON object")
    return read
