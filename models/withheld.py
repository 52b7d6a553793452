"""No answer from a recalled version: what it said is left out of the result, and that is told.
Where another version is in use by now, as the active one is after a candidate, it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.recalls import recalls_of
from models.ai_systems import SYSTEM_VERSIONS, AiSystem
from models.fhir_client import FhirClient
from models.report import Results
from models.wording import NO_OPINION


async def standing(
    fhir: FhirClient, said: Results, instead: Callable[[], Awaitable[Results | None]]
) -> Results:
    """What may be reported of what was said. `instead` answers for what a version said of images
    that is recalled by now; a worker may have known the registry as it was before."""
    kept = await without_recalled(fhir, said)
    before = _readers(said)
    if _readers(kept) == before:
        return kept
    other = await instead()
    if other is None:
        return kept
    after = _readers(other)
    changed = [part for part in after if part in before and after[part].key != before[part].key]
    if not changed:
        return kept
    texts = [
        f"{part}: {_why(before[part]).removesuffix('.')} while it read them; "
        f"{after[part].name} {after[part].version} read them instead."
        for part in changed
    ]
    again = replace(
        said,
        smear=other.smear,
        smear_system=other.smear_system,
        arm=other.arm,
        further=other.further,
        withheld=(*said.withheld, *texts),
    )
    return await without_recalled(fhir, again)


def _readers(results: Results) -> dict[str, AiSystem]:
    """The versions that read images, by what the result calls that part."""
    found = {each.heading: each.by.system for each in results.further}
    return found if results.smear_system is None else {"Images": results.smear_system, **found}


async def without_recalled(fhir: FhirClient, results: Results) -> Results:
    """The results without the parts of systems whose version was recalled for good."""
    if results.smear_system is not None and await _is_recalled(fhir, results.smear_system):
        text = f"Images: {NO_OPINION} {_why(results.smear_system)}"
        results = replace(
            results, smear=None, smear_system=None, withheld=(*results.withheld, text)
        )
    if results.analysis_system is not None and await _is_recalled(fhir, results.analysis_system):
        text = f"Symptoms and vital signs: {NO_OPINION} {_why(results.analysis_system)}"
        results = replace(
            results, analysis=None, analysis_system=None, withheld=(*results.withheld, text)
        )
    for spoken in results.further:
        if await _is_recalled(fhir, spoken.by.system):
            others = [each for each in results.further if each is not spoken]
            text = f"{spoken.heading}: {NO_OPINION} {_why(spoken.by.system)}"
            results = replace(results, further=others, withheld=(*results.withheld, text))
    return results


def withheld_issues(results: Results) -> tuple[Issue, ...]:
    """One issue for each part that was left out."""
    return tuple(Issue("error", "business-rule", text) for text in results.withheld)


async def _is_recalled(fhir: FhirClient, system: AiSystem) -> bool:
    query = {"identifier": f"{SYSTEM_VERSIONS}|{system.key}"}
    async for device in fhir.search("Device", query):
        if any(recall.is_for_good for recall in recalls_of(device)):
            return True
    return False


def _why(system: AiSystem) -> str:
    return f"{system.name} {system.version} was recalled."
