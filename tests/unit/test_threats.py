"""The threat model names, for each threat, a test that exists."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
THREATS = re.findall(r"^\| (\*\*[STRDUE]\*\* .*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


@cache
def names_in(path: str) -> set[str]:
    text = (ROOT / path).read_text("utf-8")
    return set(re.findall(r"^ *(?:async )?def (test_\w+)\(", text, re.MULTILINE))


@pytest.mark.parametrize(("threat", "_answer", "named"), THREATS)
def test_each_threat_names_tests_that_exist(threat: str, _answer: str, named: str) -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", named)
    assert tests, threat
    assert not [each for path, each in tests if each not in names_in(path)], threat
    assert ", ".join(f"`{path}::{each}`" for path, each in tests) == named, "nothing but tests"


def test_every_row_of_a_table_of_threats_is_one() -> None:
    tables = re.findall(r"^\| threat \| answer \| test \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.M)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(tables) > 5
    assert len(rows) == len(THREATS)


def test_a_name_that_no_test_has_is_noticed() -> None:
    assert "test_that_nobody_wrote" not in names_in("tests/unit/test_threats.py")
