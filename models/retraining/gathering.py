"""Gathers the candidate training set from a FHIR server.

Who withdraws consent while it is gathered is left out: what can't be read any more is no failure,
and Consents are asked about once more at the end.
"""

from datetime import datetime

from models.fhir_client import FhirClient, FhirFailure
from models.retraining.cases import Lack, judged
from models.retraining.consents import permits_training
from models.retraining.records import read_consents, read_picture, read_records
from models.retraining.training_set import TrainingSet

_KEPT_BACK = frozenset({403, 404, 410})
"""What the server answers about a record that is not there for us any more."""


async def gather(fhir: FhirClient, into: TrainingSet, now: datetime) -> None:
    """Every signed report, judged; images are read of those alone that may teach."""
    taken: dict[str, str] = {}
    async for record in read_records(fhir):
        case = judged(record, now)
        if isinstance(case, Lack):
            into.lack(case)
            continue
        try:
            pictures = [await read_picture(fhir, image) for image in case.images]
        except ValueError:
            into.lack(Lack.IMAGES)
            continue
        except FhirFailure as failure:
            if failure.status not in _KEPT_BACK:
                raise
            into.lack(Lack.CONSENT)
            continue
        into.add(case, pictures)
        taken[case.patient] = case.report
    for patient, report in taken.items():
        if not await _still_permits(fhir, patient, report, now):
            into.leave_out(patient)


async def _still_permits(fhir: FhirClient, patient: str, report: str, now: datetime) -> bool:
    """Whether the patient's record may still be read, and teach."""
    try:
        await fhir.read(report)
    except FhirFailure as failure:
        if failure.status not in _KEPT_BACK:
            raise
        return False
    return permits_training(await read_consents(fhir, patient), now)
