"""Parts of a page that load by themselves: a refusal or failure of one leaves the rest."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from smart_app.fhir_client import FhirFailure

Item = TypeVar("Item")
State = Literal["loaded", "empty", "forbidden", "failed"]


@dataclass(frozen=True)
class Section(Generic[Item]):
    """What could be had; `empty` says that nothing is recorded, which is not the same as none."""

    state: State
    items: tuple[Item, ...] = ()
    code: int = 200

    @property
    def is_known(self) -> bool:
        """Whether the record system answered, with or without entries."""
        return self.state in {"loaded", "empty"}


async def section(fetching: Awaitable[list[Item]]) -> Section[Item]:
    """Await a search; its failure becomes a state instead of an exception."""
    try:
        found = await fetching
    except FhirFailure as failure:
        refused = failure.status in {401, 403}
        return Section("forbidden" if refused else "failed", code=failure.status)
    return Section("loaded" if found else "empty", tuple(found))
