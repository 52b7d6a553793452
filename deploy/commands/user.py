"""`medsage user`: people who may sign in, looked after in the store itself."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.ending import UNUSABLE, fail
from deploy.commands.operating import opened, operators_trail
from deploy.commands.serve import store_settings
from fhir_server.app import sign_in_rules, tenants_of
from fhir_server.load_settings import UnusableSettings
from fhir_server.security.authorization import people
from fhir_server.security.authorization.links import link_user
from fhir_server.security.authorization.lockout import locked_until
from fhir_server.security.authorization.passwords import PasswordRules
from fhir_server.security.authorization.people import Desk
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.standing import standing_of
from fhir_server.security.authorization.users import (
    PEOPLES_ROLES,
    User,
    hash_password,
    sign_in_name,
    user_from,
)
from fhir_server.security.tenants import DEFAULT
from fhir_server.settings import Settings
from fhir_server.storage.port import ResourceStore
from fhir_server.system import utc_now

app = typer.Typer(help="People who may sign in.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Sign-in name.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
Roles = Annotated[list[str], typer.Option("--role", help=f"{', '.join(sorted(PEOPLES_ROLES))}.")]
Work = Callable[[Desk], Awaitable[str]]


@app.command("list")
def list_users(data: Data = None) -> None:
    """Everybody with their roles, and who can't sign in now."""

    async def work(desk: Desk) -> str:
        records = await people.all_users(desk.store)
        return "\n".join([await _line(desk.store, user_from(record)) for record in records])

    _run(data, work)


@app.command("add", epilog="Example: medsage user add dr.amina --name 'Dr Amina' --role doctor")
def add(
    name: Name,
    shown: Annotated[str, typer.Option("--name", help="Name as shown and printed.")],
    role: Roles,
    fhir_user: Annotated[
        str | None, typer.Option(help="The person's resource, as Practitioner/ID.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant whose records they see.")] = DEFAULT,
    data: Data = None,
) -> None:
    """A new user; the password is asked for twice (or read from a pipe)."""
    user = User(sign_in_name(name), shown, frozenset(role), fhir_user, tenant=tenant)
    settings = store_settings(data)
    if tenant not in tenants_of(settings):
        fail(f"MEDSAGE_TENANTS names no tenant {tenant!r}")
    password = _ask_password(_sign_in_rules(settings).passwords, user)

    async def work(desk: Desk) -> str:
        await people.create_user(desk, user, hash_password(password))
        return f"{user.id} may sign in as {', '.join(sorted(user.roles))}"

    _run(data, work)


@app.command("roles", epilog="Example: medsage user roles dr.amina --role doctor --role admin")
def roles(name: Name, role: Roles, data: Data = None) -> None:
    """Other roles instead of those before; the user's sessions end."""

    async def work(desk: Desk) -> str:
        await people.change_roles(desk, sign_in_name(name), frozenset(role))
        return f"{name} is {', '.join(sorted(role))} now"

    _run(data, work)


@app.command("password")
def password(name: Name, data: Data = None) -> None:
    """A password to sign in with once (asked for twice); it must be changed then."""
    user = User(sign_in_name(name), "", frozenset())
    given = _ask_password(_sign_in_rules(store_settings(data)).passwords, user)

    async def work(desk: Desk) -> str:
        await people.reset_password(desk, user.id, hash_password(given))
        return f"{name} signs in with this password once, and then chooses another"

    _run(data, work)


@app.command("disable")
def disable(name: Name, data: Data = None) -> None:
    """Nobody signs in under the name, and what is open under it ends now."""
    _simple(data, name, people.disable_user, "can't sign in, and everything open has ended")


@app.command("enable")
def enable(name: Name, data: Data = None) -> None:
    """A disabled user may sign in again."""
    _simple(data, name, people.enable_user, "may sign in again")


@app.command("unlock")
def unlock(name: Name, data: Data = None) -> None:
    """Wrong passwords of the past no longer make anybody wait under the name."""
    _simple(data, name, people.unlock_user, "is not locked")


@app.command("reset-second-factor")
def reset_second_factor(name: Name, data: Data = None) -> None:
    """A lost authenticator no longer counts; the user's sessions end."""
    _simple(data, name, people.reset_second_factor, "has no second factor now")


@app.command("end-sessions")
def end_sessions(name: Name, data: Data = None) -> None:
    """End everything that is open under the name, apps with lasting access too."""

    async def work(desk: Desk, id: str) -> None:
        standing = await standing_of(desk.store, id)
        await people.end_standing(desk, id, standing, "all sessions and grants")

    _simple(data, name, work, "has nothing open now")


@app.command("link", epilog="Example: medsage user link dr.amina --provider clinic --subject 8f3a")
def link(
    name: Name,
    provider: Annotated[str, typer.Option(help="Id of a provider in MEDSAGE_OPENID_PROVIDERS.")],
    subject: Annotated[str, typer.Option(help="The person's `sub` at the provider.")],
    data: Data = None,
) -> None:
    """Let a user sign in at another OpenID provider, too; their roles stay those given here."""
    found = _sign_in_rules(store_settings(data)).provider(provider)
    if found is None:
        fail(f"there is no provider {provider!r} in MEDSAGE_OPENID_PROVIDERS", UNUSABLE)

    async def work(desk: Desk, id: str) -> None:
        await link_user(desk, id, found.issuer, subject)

    _simple(data, name, work, f"may sign in at {found.name}")


def _simple(
    data: Path | None, name: str, act: Callable[[Desk, str], Awaitable[None]], done: str
) -> None:
    async def work(desk: Desk) -> str:
        await act(desk, sign_in_name(name))
        return f"{name} {done}"

    _run(data, work)


def _run(data: Path | None, work: Work) -> None:
    try:
        said = asyncio.run(_with_desk(store_settings(data), work))
    except ValueError as problem:
        fail(str(problem))
    if said:
        typer.echo(said)


async def _with_desk(settings: Settings, work: Work) -> str:
    async with opened(settings) as store:
        return await work(Desk(store, operators_trail(f"{settings.base_url}/fhir"), None))


def _sign_in_rules(settings: Settings) -> SignInRules:
    try:
        return sign_in_rules(settings)
    except UnusableSettings as problem:
        fail(str(problem), UNUSABLE)


def _ask_password(rules: PasswordRules, user: User) -> str:
    given: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        rules.check(given, user)
    except ValueError as problem:
        fail(str(problem))
    return given


async def _line(store: ResourceStore, user: User) -> str:
    waits = await locked_until(store, user.id) > utc_now().timestamp()
    states = {"disabled": user.is_disabled, "locked for a while": waits}
    states["must change the password"] = user.must_change_password
    said = [state for state, is_so in states.items() if is_so]
    return "\t".join([user.id, user.name, ", ".join(sorted(user.roles)), ", ".join(said)])
