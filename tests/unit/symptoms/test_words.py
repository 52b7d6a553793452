"""Symptoms mentioned in free text, with negation."""

import pytest

from models.symptoms.words import mentioned, mentions


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Fever for three days, shivering and headache", {"fever", "chills", "headache"}),
        ("No fever, no cough", set()),
        ("denies vomiting or diarrhoea but has a headache", {"headache"}),
        ("without fever. Convulsions last night", {"convulsions"}),
        ("no cough, has fever", {"fever"}),
        ("not drinking since morning", {"unable-to-drink"}),
        ("able to drink", set()),
        (
            "can’t stand, yellow eyes, cola-coloured urine",
            {"prostration", "jaundice", "dark-urine"},
        ),
        ("coughing; no difficulty breathing", {"cough"}),
        ("returned from Malawi last week", {"travel"}),
        ("FEBRILE, Drowsy", {"fever", "reduced-consciousness"}),
        ("a feverless outfit", set()),
        ("no fever, cough, or convulsions", set()),
        ("denies fever, vomiting and jaundice", set()),
        ("no known allergies, fever for three days", {"fever"}),
        ("no cough, convulsions since last night", {"convulsions"}),
        ("no cough, bleeding", set()),
        ("not drinking, not feeding, drowsy", {"unable-to-drink", "reduced-consciousness"}),
        ("She is not eating and is drowsy", {"reduced-consciousness"}),
        ("not sleeping and confused", {"reduced-consciousness"}),
        ("no fever today and looks jaundiced", {"jaundice"}),
        ("has not stopped convulsing", {"convulsions"}),
        ("bleeding that did not stop, and never stops bleeding", {"bleeding"}),
        ("no improvement of the convulsions", {"convulsions"}),
        ("does not look jaundiced", set()),
        ("denies chest pain and shortness of breath", set()),
        ("is not vomiting and coughing", set()),
        ("there is no bleeding", set()),
        ("vomits everything", {"vomiting", "unable-to-drink"}),
        ("unable to eat or drink", {"unable-to-drink"}),
        ("can't keep anything down", {"unable-to-drink"}),
        ("no longer able to sit", {"prostration"}),
        ("SOB at rest, tachypnoeic", {"breathlessness"}),
        ("not responding, semiconscious, difficult to rouse", {"reduced-consciousness"}),
        ("able to keep fluids down and not vomiting everything", set()),
    ],
)
def test_text_mentions_exactly_these_symptoms(text: str, codes: set[str]) -> None:
    assert set(mentioned(text)) == codes


def test_a_negation_ends_with_its_clause_and_not_before() -> None:
    found = {mention.code: mention.is_negated for mention in mentions("No chills; fever")}

    assert found == {"chills": True, "fever": False}


def test_one_affirmed_mention_outweighs_a_negated_one() -> None:
    assert "fever" in mentioned("No fever yesterday. Fever today.")
