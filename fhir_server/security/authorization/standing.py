"""What users have open: their sessions and grants, found by user, and how they end."""

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.security.authorization.records import (
    OF_USER,
    Effects,
    Grant,
    Session,
    delete,
    of_user,
    value_of,
)
from fhir_server.storage.port import Record, ResourceStore

_PAGE = 1000


@dataclass(frozen=True)
class Standing:
    """The records of a user's live sessions and grants."""

    sessions: tuple[Record, ...] = ()
    grants: tuple[Record, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sessions or self.grants)

    def without(self, session: str | None) -> "Standing":
        """All but one session and the grants made in it."""
        return Standing(
            tuple(each for each in self.sessions if each.id != session),
            tuple(each for each in self.grants if each.value["session"] != session or not session),
        )

    def of_client(self, client_id: str) -> "Standing":
        """The grants of one client alone."""
        return Standing((), tuple(g for g in self.grants if g.value["client_id"] == client_id))

    def of_session(self, session: str) -> "Standing":
        """One session with the grants that end with it."""
        return Standing(
            tuple(each for each in self.sessions if each.id == session),
            tuple(each for each in self.grants if each.value["session"] == session),
        )


async def standing_of(store: ResourceStore, user: str) -> Standing:
    """What a user has open now."""
    return Standing(
        tuple(await _owned(store, Session.KIND, user)), tuple(await _owned(store, Grant.KIND, user))
    )


def end(standing: Standing) -> Effects:
    """End the sessions and grants, and with them every token."""
    effects = Effects()
    for record in standing.sessions:
        for grant in value_of(Session, record).grants:
            effects += delete(Grant.KIND, grant)
    for record in (*standing.sessions, *standing.grants):
        effects += delete(record.kind, record.id)
        effects += delete(OF_USER[record.kind], of_user(record.value["user"], record.id))
    return effects


async def all_sessions(store: ResourceStore, after: str = "") -> Sequence[Record]:
    """Live sessions of everybody, a page of them, by id."""
    return await store.records(Session.KIND, after=after, limit=100)


async def _owned(store: ResourceStore, kind: str, user: str) -> list[Record]:
    prefix, after, found = of_user(user), "", list[Record]()
    while entries := await store.records(OF_USER[kind], prefix, after, _PAGE):
        for entry in entries:
            record = await store.record(kind, entry.id.removeprefix(prefix))
            if record is not None:
                found.append(record)
        after = entries[-1].id
    return found
