"""The tables of docs/models/symptoms.md and the code say the same."""

import re
from pathlib import Path

from models.symptoms import differential, rules
from models.symptoms.port import Finding
from models.symptoms.rules import analyse
from terminology.findings import FINDING
from tests.language_model_double import recorded
from tests.vignettes import vignettes

PAGE = (Path(__file__).parents[3] / "docs/models/symptoms.md").read_text("utf-8")


def rows(prefix: str) -> dict[str, list[str]]:
    """The cells of each table row by the rule that it is about."""
    lines = [line for line in PAGE.splitlines() if re.match(rf"\| (?:{prefix})", line)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def findings() -> list[Finding]:
    return [finding for each in vignettes().values() for finding in analyse(each.facts).findings]


def test_each_rule_that_can_fire_has_its_row_with_urgency_and_source() -> None:
    table = rows("DS-|CH-|IL-|TR-|NEWS2")
    fired = findings()

    assert table.keys() == {finding.rule.split()[0] for finding in fired}
    for finding in fired:
        _, urgency, source = table[finding.rule.split()[0]]
        assert finding.urgency.code in urgency, finding.rule
        assert finding.source.name in source, finding.rule


def test_every_code_of_a_rule_is_met_by_a_vignette() -> None:
    defined = {concept.code for concept in FINDING.concepts if concept.code.startswith("rule-")}

    assert {f"rule-{finding.code}" for finding in findings()} == defined


def test_each_condition_has_its_row_with_name_and_source() -> None:
    table = rows("DD-")
    conditions = (differential.MALARIA, *differential.CONDITIONS)

    assert table.keys() == {condition.rule for condition in conditions}
    for condition in conditions:
        name, _, source = table[condition.rule]
        assert name == condition.name
        assert source == condition.source.name


def test_the_page_names_the_version_and_how_many_samples_there_are() -> None:
    assert f"Rules {rules.VERSION}." in PAGE
    assert f"holds {len(vignettes())} synthetic patients" in PAGE
    assert f"holds {len(recorded())} answers" in PAGE
