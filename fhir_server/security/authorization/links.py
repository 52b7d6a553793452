"""Who somebody is at another provider: a subject of an issuer, linked to one user here."""

from collections.abc import Mapping
from typing import Any

from fhir_server.security.authorization.people import Desk, RefusedChange
from fhir_server.security.authorization.records import digest
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.storage.port import Record, ResourceStore, Transaction

KIND = "external-identity"


async def link_of(store: ResourceStore, claims: Mapping[str, Any]) -> Record | None:
    """The link of the subject in checked claims."""
    return await store.record(KIND, _id(claims["iss"], claims["sub"]))


def link_record(issuer: str, subject: str, user: str, *, is_managed: bool) -> Record:
    """A link; the provider gives the user's roles when it `is_managed`."""
    value = {"user": user, "iss": issuer, "sub": subject, "is_managed": is_managed}
    return Record(KIND, _id(issuer, subject), value)


async def link_user(desk: Desk, id: str, issuer: str, subject: str) -> None:
    """Let a user who is here already sign in as the subject of the issuer, too; the roles stay
    those given here. RefusedChange when the subject is somebody else's."""
    link = link_record(issuer, subject, id, is_managed=False)
    entry = desk.entry("user-security", id, f"may sign in as {subject[:80]} of {issuer}")

    async def unit(tx: Transaction) -> None:
        if await tx.record(USER, id) is None:
            raise RefusedChange(f"There is no user {id}")
        if await tx.record(KIND, link.id) is not None:
            raise RefusedChange("This subject is linked to a user already")
        await tx.put_record(link, 0)
        await tx.journal(entry)

    await desk.commit(unit)


def _id(issuer: str, subject: str) -> str:
    return digest(f"{issuer}\x1f{subject}")
