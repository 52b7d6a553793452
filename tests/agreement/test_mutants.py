"""The proof that the search proof can fail: `medsage bench proof-mutants` in small."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.mutants import MUTANTS, Mutant
from bench.proof_mutants import judged

NAMES = [each.name for each in MUTANTS]
QUICK = (
    "SQLite: NOT is dropped",
    "encodings: case counts",
    "dates: gt has the named period in it",
    "composites: parts of different elements meet",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_each_mistake_still_fits_the_source_that_it_is_planted_in(mutant: Mutant) -> None:
    spec = find_spec(mutant.module)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).read_text().count(mutant.old) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_planted_mistake_is_noticed(name: str) -> None:
    found = judged(NAMES.index(name), None)
    assert found["difference"], found
