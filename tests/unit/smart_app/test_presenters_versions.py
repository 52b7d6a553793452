"""What the page of model versions says of a recall: in whose name it was asked for."""

import pytest

from fhir_server.fhir.model_versions import Standing, State, with_standing
from fhir_server.fhir.recalls import Recall, with_recall
from smart_app.presenters.versions import version_view

AT = "2026-11-25T08:00:00Z"
PEOPLE = {"Practitioner/ada": "Ada"}


@pytest.mark.parametrize(
    ("recall", "said"),
    [
        (Recall("r", "Mislabelled", AT, "Practitioner/ada"), "Ada (Practitioner/ada)"),
        (
            Recall("r", "Mislabelled", AT, "medsage-worker", operator="amina"),
            "operator amina, by medsage-worker",
        ),
    ],
    ids=["a person", "an operator"],
)
def test_a_recall_names_the_person_or_the_operator(recall: Recall, said: str) -> None:
    device = {"resourceType": "Device", "id": "v", "identifier": [], "status": "active"}
    standing = Standing("malaria", "malaria", State.SHADOW)
    view = version_view(with_recall(with_standing(device, standing), recall), None, PEOPLE)
    assert view is not None
    assert [each.by for each in view.recalls] == [said]
