"""`kill -9` at random points, small (`medsage bench proof-kill` is the whole proof)."""

from pathlib import Path

import pytest

from bench.proof_kill import Plan, prove
from tests.stores import BOTH, MONGODB

SUBMISSIONS = 15


@pytest.mark.parametrize("store", BOTH)
@pytest.mark.slow
async def test_what_was_acknowledged_survives_and_each_task_ends_once(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    uri = request.getfixturevalue("mongodb_server") if store == MONGODB else None
    found = await prove(Plan(SUBMISSIONS, kills=3, store=store), tmp_path / "run", uri)
    assert found["faults"] == {}, found
    assert sum(found["tasks"].values()) >= SUBMISSIONS // 2
    assert found["tasks"].keys() <= {"completed", "failed"}
    assert found["kills"] == {"all": 3}
    assert found["acknowledged_versions"] > 0


@pytest.mark.slow
async def test_server_and_worker_as_two_processes(tmp_path: Path) -> None:
    found = await prove(Plan(SUBMISSIONS, kills=2, roles="split"), tmp_path / "run", None)
    assert found["faults"] == {}, found
    assert found["tasks"].keys() <= {"completed", "failed"}
