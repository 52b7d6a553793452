"""What must not leave (identifiers, doses) and what must not come back (doses)."""

import re

import pytest

from models.symptoms.redact import has_dose, redact
from models.symptoms.words import mentioned
from tests.availability import ROOT


@pytest.mark.parametrize(
    "secret",
    [
        "ada@clinic.example",
        "+254 712 345678",
        "1984-02-03",
        "3 March 1984",
        "MRN0012345",
        "Mrs. Achieng Otieno",
        "https://example.org/p/1",
        "12 Kenyatta Avenue",
        "2026/11/03",
        "3rd of November",
        "Nov 5th",
        "november 6, 2026",
        "3/11",
        "1987",
        "MRN 12345",
        "hospital no. KNH/2231/26",
        "ID: 4471-22",
        "Amina Wanjiru",
        "WANJIRU",
        "her brother Joseph",
        "J. Odhiambo",
        "dr otieno",
        "name: fatuma",
        "Kibera",
    ],
)
def test_identifiers_are_taken_out_of_text(secret: str) -> None:
    redacted = redact(f"Seen before ({secret}) with fever for 3 days")

    assert secret.split()[-1] not in redacted
    assert "fever for 3 days" in redacted


def test_the_patients_own_names_are_taken_out_in_any_case() -> None:
    assert redact("ADA says Lovelace has fever", ("Ada", "Lovelace")) == (
        "[name] says [name] has fever"
    )


@pytest.mark.parametrize(
    "note",
    [
        "Convulsions since last night. BP 90/60, SpO2 88 %, Hb 7.2 g/dL, 39.5 °C, pulse 140.",
        "FEVER AND COUGH, NOT DRINKING. RDT positive for P falciparum.",
        "Vomited twice; no chills. Child’s mother says she is drowsy. X-ray clear.",
    ],
)
def test_what_is_clinical_stays_however_it_is_written(note: str) -> None:
    assert redact(note) == note


def test_a_symptom_is_never_taken_for_a_name() -> None:
    """Every note of the vignettes says the same, though each of its words has a capital."""
    for path in (ROOT / "tests/samples/vignettes").glob("*.toml"):
        for note in re.findall(r'^text = "(.*)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            assert mentioned(redact(note.title())).keys() == mentioned(note).keys(), note


def test_names_inside_other_words_stay() -> None:
    assert redact("no adaptation", ("Ada",)) == "no adaptation"


@pytest.mark.parametrize(
    "text",
    [
        "give 80 mg now",
        "two tablets",
        "artesunate 2.4 mg/kg",
        "every 8 hours",
        "twice daily",
        "1 g of paracetamol",
        "500mg",
        "10-15 mg",
        "5 ml of syrup",
        "half a tablet tds",
    ],
)
def test_doses_are_recognised(text: str) -> None:
    assert has_dose(text)


@pytest.mark.parametrize(
    "text",
    [
        "haemoglobin 7 g/dL",
        "fever for 3 days",
        "temperature 39.5 °C",
        "glucose 2.2 mmol/L",
        "repeat the smear",
        "weight 60 kg",
        "pressure 80 mmHg",
        "parasites in 214 cells",
    ],
)
def test_measurements_are_no_doses(text: str) -> None:
    assert not has_dose(text)
