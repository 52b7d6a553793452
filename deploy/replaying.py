"""What `medsage models replay` does: results of a running server computed again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache

import httpx
import orjson
import typer

from deploy import tls
from deploy.analysis import versions_here, worker_client
from deploy.keys import keys_of
from fhir_server.fhir.assessment import ASSESSMENT, TASK_CODES
from fhir_server.settings import Settings
from models.analysis import SmearModel
from models.fhir_client import FhirClient
from models.replay import ModelOf, NotReplayable, Part, Replay, Verdict, replay


@dataclass(frozen=True)
class Wanted:
    """One Task, or (None) all that were finished `since` a day, `most` of them."""

    task: str | None = None
    since: str | None = None
    most: int | None = None


async def replayed(settings: Settings, wanted: Wanted, *, as_json: bool = False) -> bool:
    """Tells of each Task and says whether all came out the same. FhirFailure when the server
    refuses or does not answer."""
    own = tls.calling(settings) if settings.tls_ca_file else True
    async with httpx.AsyncClient(timeout=30, trust_env=False, verify=own) as http:
        fhir = worker_client(http, settings.base_url, keys_of(settings).worker)
        here = await asyncio.to_thread(versions_here, settings)

        @cache
        def model_of(key: str) -> SmearModel | None:
            return here[key].load() if key in here else None

        return await told(fhir, model_of, wanted, as_json=as_json)


async def told(
    fhir: FhirClient, model_of: ModelOf, wanted: Wanted, *, as_json: bool = False
) -> bool:
    """The same over a client and the models that are here."""
    verdicts: Counter[Verdict] = Counter()
    left = wanted.most
    async for reference in _references(fhir, wanted):
        if left == 0:
            break
        left = None if left is None else left - 1
        try:
            found = await replay(fhir, model_of, reference)
        except NotReplayable as problem:
            verdicts["unavailable"] += 1
            typer.echo(_problem(reference, problem, as_json))
            continue
        verdicts[found.verdict] += 1
        typer.echo(_json(found) if as_json else _lines(found))
    if not as_json and wanted.task is None:
        same, different, unavailable = (
            verdicts[each] for each in ("same", "different", "unavailable")
        )
        typer.echo(f"{same} the same, {different} not the same, {unavailable} not computed")
    return verdicts.total() == verdicts["same"]


async def _references(fhir: FhirClient, wanted: Wanted) -> AsyncIterator[str]:
    if wanted.task is not None:
        yield wanted.task
        return
    query = [("code", f"{TASK_CODES}|{ASSESSMENT['code']}"), ("status", "completed")]
    query += [("_lastUpdated", f"ge{wanted.since}")] if wanted.since else []
    async for task in fhir.search("Task", query):
        yield f"Task/{task['id']}"


def _problem(reference: str, problem: NotReplayable, as_json: bool) -> str:
    if as_json:
        told = {"task": reference, "verdict": "unavailable", "problem": str(problem)}
        return orjson.dumps(told).decode()
    return f"{reference}: not computed again: {problem}"


def _json(found: Replay) -> str:
    return orjson.dumps({"verdict": found.verdict, **asdict(found)}).decode()


_HEADS: Mapping[Verdict, str] = {
    "same": "the same",
    "different": "NOT the same",
    "unavailable": "not all computed again; what was is the same",
}


def _lines(found: Replay) -> str:
    head = f"{found.task}: {_HEADS[found.verdict]}"
    return "\n".join([head, *(line for part in found.parts for line in _part(part))])


def _part(part: Part) -> list[str]:
    state = {"same": "all equal", "different": "differs", "unavailable": "not computed"}
    return [
        f"  {part.observation} by {part.version}: {state[part.verdict]}, {part.equal} values equal",
        *(
            f"    {each.place}: stored {each.stored}, computed {each.computed}"
            for each in part.differences
        ),
        *(f"    {note}" for note in part.notes),
    ]
