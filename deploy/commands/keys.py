"""`medsage keys`: the keys that this server signs with, changed in the store directly. Running
servers take the change up within seconds."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.ending import fail
from deploy.commands.operating import noted, opened
from deploy.commands.serve import store_settings
from fhir_server.security.keys import (
    generate_keys,
    read_keys,
    retire_key,
    rotate_keys,
)
from fhir_server.security.signing_keys import Keys, NotRotatable, SigningKey, state
from fhir_server.settings import Settings
from fhir_server.storage.port import Transaction, VersionConflict
from fhir_server.system import utc_now

app = typer.Typer(
    help="Keys that access tokens and id_tokens are signed with.", no_args_is_help=True
)
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]


@app.command("list", epilog="Example: medsage keys list")
def list_keys(data: Data = None) -> None:
    """The keys: what each is for, whether it signs, comes next or only verifies, and until when."""
    keys = asyncio.run(_read(store_settings(data)))
    if not keys:
        fail("there are no keys yet: the first start of a server makes them")
    _print(keys)


@app.command(epilog="Example: medsage keys rotate")
def rotate(data: Data = None) -> None:
    """Publish a new key of each kind. It signs after a quarter of an hour, when everybody knows
    it; the old one is believed until the last token that it signed has expired."""
    _change(store_settings(data), None)


# A key's id may begin with a dash, and is no option then.
@app.command(
    epilog="Example: medsage keys retire KID", context_settings={"ignore_unknown_options": True}
)
def retire(
    kid: Annotated[str, typer.Argument(help="The key's id, as `medsage keys list` shows it.")],
    data: Data = None,
) -> None:
    """Take a key out at once, because it may have been stolen: what it signed is refused from now
    on, and everybody whose token it signed signs in again or refreshes."""
    _change(store_settings(data), kid)


def _change(settings: Settings, kid: str | None) -> None:
    try:
        keys = asyncio.run(_changed(settings, kid))
    except (NotRotatable, VersionConflict) as problem:
        fail(str(problem) or "the keys were changed by somebody else just now")
    _print(keys)


async def _changed(settings: Settings, kid: str | None) -> Keys:
    made, now = await generate_keys(), utc_now().timestamp()
    longest = max(settings.access_token_seconds, settings.session_seconds)
    detail = "rotated" if kid is None else f"retired {kid}"
    entry = noted(settings, "signing-keys", detail)

    async def unit(tx: Transaction) -> Keys:
        await tx.journal(entry)
        if kid is None:
            return await rotate_keys(tx, made, now=now, longest_token=longest)
        return await retire_key(tx, kid, made, now=now)

    async with opened(settings) as store:
        return await store.transaction(unit)


async def _read(settings: Settings) -> Keys:
    async with opened(settings) as store:
        return await read_keys(store)


def _print(keys: Keys) -> None:
    now = utc_now().timestamp()
    for key in keys:
        typer.echo(f"{key.kid}  {key.use:<8}  {_state(keys, key, now)}")


def _state(keys: Keys, key: SigningKey, now: float) -> str:
    match state(keys, key, now):
        case "next":
            return f"signs from {_time(key.starts)}"
        case "signs":
            return "signs"
        case "ended":
            return "has ended"
    return f"verifies until {_time(key.ends or now)}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
