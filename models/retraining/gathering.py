"""Gathers the candidate training set from a FHIR server."""

from datetime import datetime

from models.fhir_client import FhirClient
from models.retraining.cases import Lack, judged
from models.retraining.records import read_picture, read_records
from models.retraining.training_set import TrainingSet


async def gather(fhir: FhirClient, into: TrainingSet, now: datetime) -> None:
    """Every signed report, judged; images are read of those alone that may teach."""
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
        into.add(case, pictures)
