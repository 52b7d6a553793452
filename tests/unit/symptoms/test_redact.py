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


OWN = ("José", "O'Brien", "Abdul-Rahman", "Nunez")


@pytest.mark.parametrize(
    "text",
    ["josé", "jose", "jose\u0301", "nuñez", "o’brien", "obrien", "abdulrahman", "abdul rahman"],
)
def test_the_patients_own_name_goes_however_it_is_spelt(text: str) -> None:
    assert redact(f"{text} has fever", OWN) == "[name] has fever"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("seen by J. M. today", "seen by [name] today"),
        ("B.P. 120/80", "BP 120/80"),
        ("call 0700.123.456", "call [number]"),
        ("call (0700) 123-456", "call [number]"),
        ("call 0700/123456", "call [number]"),
        ("card cm1234567abc", "card [number]"),
        ("ill since 12 novembre", "ill since [date]"),
        ("ill since 3 de março de 2026", "ill since [date]"),
        ("see facebook.com/zuri", "see [link]"),
        ("on twitter @zuri_o", "on twitter [link]"),
        ("सीता has fever", "[name] has fever"),
        ("T 38.5 120/80 98, pulse 120bpm", "T 38.5 120/80 98, pulse 120bpm"),
    ],
)
def test_other_shapes_of_what_identifies_go_and_measured_values_stay(text: str, left: str) -> None:
    assert redact(text) == left
