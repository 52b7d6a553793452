"""What must not leave (identifiers, doses) and what must not come back (doses)."""

import pytest

from models.symptoms.redact import has_dose, redact


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
    ],
)
def test_identifiers_are_taken_out_of_text(secret: str) -> None:
    redacted = redact(f"Seen before ({secret}) with fever for 3 days")

    assert secret not in redacted
    assert "fever for 3 days" in redacted


def test_the_patients_own_names_are_taken_out_in_any_case() -> None:
    assert redact("ADA says Lovelace has fever", ("Ada", "Lovelace")) == (
        "[name] says [name] has fever"
    )


def test_names_inside_other_words_stay() -> None:
    assert redact("Canada trip", ("Ada",)) == "Canada trip"


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
