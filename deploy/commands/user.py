"""`medsage user`: people who may sign in, written to the store directly."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.ending import fail
from deploy.commands.serve import store_settings
from fhir_server.app import open_store, tenants_of
from fhir_server.security.authorization.users import (
    PEOPLES_ROLES,
    User,
    hash_password,
    register_user,
    sign_in_name,
)
from fhir_server.security.tenants import DEFAULT
from fhir_server.settings import Settings

app = typer.Typer(help="People who may sign in.", no_args_is_help=True)


@app.command("add", epilog="Example: medsage user add dr.amina --name 'Dr Amina' --role doctor")
def add(
    name: Annotated[str, typer.Argument(help="Sign-in name.")],
    shown: Annotated[str, typer.Option("--name", help="Name as shown and printed.")],
    role: Annotated[list[str], typer.Option(help=f"{', '.join(sorted(PEOPLES_ROLES))}.")],
    fhir_user: Annotated[
        str | None, typer.Option(help="The person's resource, as Practitioner/ID.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant whose records they see.")] = DEFAULT,
    data: Annotated[Path | None, typer.Option(help="Folder of the embedded store.")] = None,
) -> None:
    """Insert or replace a user; the password is asked for twice (or read from a pipe)."""
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    user = User(sign_in_name(name), shown, frozenset(role), fhir_user, tenant)
    settings = store_settings(data)
    if tenant not in tenants_of(settings):
        fail(f"MEDSAGE_TENANTS names no tenant {tenant!r}")
    try:
        asyncio.run(_register(settings, user, password))
    except ValueError as problem:
        fail(str(problem))
    typer.echo(f"{user.id} may sign in as {', '.join(sorted(user.roles))}")


async def _register(settings: Settings, user: User, password: str) -> None:
    hashed = hash_password(password)
    store = await open_store(settings)
    try:
        await store.transaction(lambda transaction: register_user(transaction, user, hashed))
    finally:
        await store.close()
