"""A server whose search parameters can be added to, and its indexing, driven by the step."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from fhir_server.indexing.definitions import Definitions
from fhir_server.indexing.reindex import Reindexer
from fhir_server.indexing.state import LAST_SECONDS
from fhir_server.search.extract import Extractor
from fhir_server.search.live import Extract, LiveSearch
from fhir_server.search.registry import Registry
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.storage.port import ResourceStore
from tests.fhir_world import BASE, START, Json, World, extract, fhir_world, registry


def extractor(found: Registry) -> Extract:
    """R4's own extractor is shared by all tests: compiling it takes longer than most of them."""
    return extract() if found is registry() else with_guard_terms(Extractor(found, BASE), BASE)


@dataclass
class Process:
    """What one process knows of the store, and its indexing."""

    store: ResourceStore
    live: LiveSearch
    definitions: Definitions
    reindexer: Reindexer

    async def batch(self) -> bool:
        """One step of the indexing."""
        await self.definitions.notice()
        return await self.reindexer.step()

    async def index(self) -> None:
        """All of the indexing that is due."""
        while await self.batch():
            pass


@dataclass
class Defining:
    """A world and the process that answers in it; `seconds` is the time by which jobs go."""

    world: World
    process: Process
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds[0] += seconds

    async def index(self) -> None:
        """Wait until the job begins, and do it."""
        self.later(10)
        await self.process.index()

    async def index_to_the_last(self) -> None:
        """The job with its last look, too."""
        await self.index()
        self.later(LAST_SECONDS)
        await self.process.index()

    async def another(self) -> Process:
        """A process that starts on the same store."""
        return await process_on(self.world.store, self.seconds)

    async def define(self, **changes: Any) -> str:
        """The id of a SearchParameter that is created and not yet indexed."""
        return await self.world.create(parameter(**changes))

    async def ids(self, url: str) -> set[str]:
        """The ids that a search finds."""
        return found(await self.world.get(url))


async def process_on(store: ResourceStore, seconds: list[float]) -> Process:
    """A process, its search parameters read."""
    live = LiveSearch(extractor, registry())
    start = START.timestamp()
    definitions = Definitions(store, live, lambda: start + seconds[0])
    await definitions.refresh()
    return Process(
        store, live, definitions, Reindexer(store, live, definitions, lambda: start + seconds[0])
    )


@asynccontextmanager
async def defining_world(folder: Path, store: ResourceStore) -> AsyncIterator[Defining]:
    """A FHIR server with open access on an empty store."""
    seconds = [0.0]
    process = await process_on(store, seconds)
    parts: Json = {"search": process.live, "definitions": process.definitions}
    async with fhir_world(folder, store=store, **parts) as world:
        yield Defining(world, process, seconds)


def found(response: httpx.Response) -> set[str]:
    """The ids of all entries of a searchset."""
    assert response.status_code == 200, response.text
    return {each["resource"]["id"] for each in response.json().get("entry", ())}


def parameter(**changes: Any) -> Json:
    """An active SearchParameter of Patients, by the colour that an extension gives."""
    code = changes.get("code", "nickname")
    return {
        "resourceType": "SearchParameter",
        "url": f"http://example.org/SearchParameter/{code}",
        "name": "Nickname",
        "status": "active",
        "description": "What the patient is called at home",
        "code": "nickname",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.name.where(use = 'nickname').given",
    } | changes
