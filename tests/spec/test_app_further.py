"""A report by a model of another condition in the app: shown as what it says it is, never read or
signed as a malaria smear."""

from fhir_server.fhir.assessment import FURTHER_MODELS
from tests.app_browser import World, hidden_fields
from tests.app_records import LABEL, MEDIA, PATIENT, report

WORDS = "Demonstration only, not for any patient."


async def test_it_is_shown_marked_and_nobody_reads_or_signs_it_as_a_smear():
    world = World()
    coding = {"system": FURTHER_MODELS, "code": "pneumonia-cxr.report"}
    world.records.put(PATIENT)
    world.records.put(MEDIA)
    world.records.put(
        {
            "resourceType": "Observation",
            "id": "chest",
            "meta": LABEL,
            "status": "preliminary",
            "code": {"text": "Opacity in a chest image, AI, demonstration only"},
            "subject": {"reference": "Patient/p1"},
            "valueCodeableConcept": {"text": "Opacity suspected"},
            "note": [{"text": WORDS}],
        }
    )
    made = report("chest")
    draft = world.records.put({**made, "code": {"coding": [coding], "text": "Chest image by AI"}})
    browser = world.browser()
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    shown = (await browser.get(page)).text
    assert WORDS in shown
    assert "What do you see in the smear?" not in shown
    assert "Smear image 1" not in shown
    # Whoever sends the forms of another report all the same is refused.
    fields = hidden_fields((await browser.get(f"{chart}intake")).text)
    for path in ("reading", "sign"):
        asked = {**fields, "reading": "parasites-seen", "version": draft["meta"]["versionId"]}
        refused = await browser.post(f"{page}/{path}", {**asked, "examined": "yes"})
        assert refused.status_code == 409, path
        assert "can&#39;t be read or signed here" in refused.text
    assert world.records.resources["DiagnosticReport", "r1"]["status"] == "preliminary"
