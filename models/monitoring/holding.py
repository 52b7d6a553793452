"""What a hold does to an analysis: the images are not read, and the report says so.

Nothing is lost: the Task is completed, symptoms are analysed by their rules as ever, and the images
wait in the report for the person who reads and signs it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from models.fhir_client import FhirClient
from models.held_report import held_text
from models.monitoring.holds import hold_at
from models.monitoring.site import site_in
from models.report import Results
from models.submission import Inputs


async def analysed(
    fhir: FhirClient, analyse: Callable[[Inputs], Awaitable[Results]], inputs: Inputs
) -> Results:
    """What the models say; without the images where their reading is held at the Task's site."""
    held = None
    if inputs.images:
        held = await hold_at(fhir, site_in(inputs.submission.task))
    if held is None:
        return await analyse(inputs)
    results = await analyse(replace(inputs, images=()))
    return replace(results, held=held_text(held.since))
