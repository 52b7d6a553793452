"""What the commands that work on the store itself share: the store, opened and closed, and an audit
record of who did it."""

import os
import pwd
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from fhir_server.app import open_store
from fhir_server.audit.journal import AuditTrail
from fhir_server.security.principal import own_principal
from fhir_server.security.tenants import DEFAULT
from fhir_server.settings import Settings
from fhir_server.storage.snapshot import WholeStore
from fhir_server.system import new_id, utc_now

COMMAND = own_principal("medsage-command", "The command medsage on the server's machine")
"""What the audit trail calls that by which an operator acts."""


def account() -> str:
    """The account of the operating system that this process runs under: what the system says,
    not the environment, which anybody sets."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[WholeStore]:
    """The store of the settings, for as long as a command needs it."""
    store = await open_store(settings)
    try:
        yield store
    finally:
        await store.close()


def noted(
    settings: Settings, interaction: str, detail: str, clock: Callable[[], datetime] = utc_now
) -> bytes:
    """An audit record of something that the operator did; `detail` says what."""
    trail = operators_trail(f"{settings.base_url}/fhir", clock=clock)
    return trail.entry(interaction=interaction, outcome="success", status=200, detail=detail)


def operators_trail(
    base_url: str, *, tenant: str = DEFAULT, clock: Callable[[], datetime] = utc_now
) -> AuditTrail:
    """Makes the records of what is done by a command: by the account that it runs under. Its
    auditors are the tenant's."""
    command = replace(COMMAND, tenant=tenant)
    return AuditTrail(command, clock, new_id, base_url, operator=account())
