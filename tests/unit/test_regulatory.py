"""The regulatory pages say what is there: the facts make them, and what they name exists."""

import ast
from functools import cache
from pathlib import Path

import pytest

from models.malaria.calibration import malaria_card
from models.regulatory.facts import UNANSWERED, attributes, principles, requirements, risks
from models.regulatory.pages import pages, write_pages
from models.symptoms.card import symptom_card

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "regulatory"
CARDS = [malaria_card(), symptom_card()]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, functions))


def test_the_pages_are_those_that_the_facts_make() -> None:
    made = pages(CARDS)
    assert {path.name for path in FOLDER.iterdir()} == set(made)
    stale = [name for name, text in made.items() if (FOLDER / name).read_text("utf-8") != text]
    assert not stale, f"{stale}: run medsage models regulatory --out docs/regulatory"


def test_every_test_and_file_that_is_named_exists() -> None:
    files = [path for each in requirements() for path in each.code]
    files += [path for each in principles() for path in each.files]
    assert [path for path in files if not (ROOT / path).is_file()] == []
    named = [test.split("::") for each in requirements() for test in each.tests]
    assert [each for each in named if each[1] not in names_in(each[0])] == []


def test_every_requirement_has_a_test_and_every_risk_a_control_that_is_one() -> None:
    known = {each.id for each in requirements()}
    assert all(each.tests and each.code for each in requirements())
    assert len(known) == len(requirements())
    for risk in risks():
        assert risk.controls, risk.id
        assert risk.requirements, risk.id
        assert set(risk.requirements) <= known, risk.id
        assert risk.after < risk.before, risk.id
        assert {risk.severity, risk.before, risk.after} <= {1, 2, 3, 4, 5}, risk.id
    assert {id for each in principles() for id in each.requirements} <= known


def test_all_principles_and_all_source_attributes_are_answered() -> None:
    assert [each.number for each in principles()] == list(range(1, 11))
    found = attributes(CARDS)
    assert len({each.id for each in found}) == 31
    answers = [each.answers[card.id] for each in found for card in CARDS]
    assert all(answers)
    assert UNANSWERED not in answers
    assert "{" not in "".join(answers)


@pytest.mark.parametrize("name", [path.name for path in sorted(FOLDER.iterdir())])
def test_no_page_claims_a_certificate(name: str) -> None:
    text = " ".join((FOLDER / name).read_text("utf-8").split())
    assert "not a medical device" in text
    assert "no certificate" in text or "No certification" in text
    for claim in ("complies with", "conforms to", "CE mark", "FDA cleared", "is certified"):
        assert claim not in text


def test_the_command_writes_the_same_pages_anywhere(tmp_path: Path) -> None:
    write_pages(tmp_path / "new", CARDS)
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()} == dict(
        pages(CARDS)
    )
