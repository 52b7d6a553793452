"""The law of the guard on every route: a seeded sample of `medsage bench proof-guard`, and leaks
that it has to notice."""

import asyncio
from functools import cache
from pathlib import Path

import pytest

from bench.guard.plants import PLANTS, planted
from bench.guard.prove import Proving
from bench.guard.server import Meaning, meaning
from bench.proof_guard import proved, run
from fhir_server.storage.sqlite.store import SqliteStore

SAMPLE = 700
FIRST_CAUGHT = {
    "the hop of a chain": 16,
    "the hop of _has": 3,
    "what includes fetch": 4,
    "the version before a write": 4,
    "granular scopes": 4,
    "the patient compartment": 4,
    "what a Binary follows": 4,
    "tenants": 1,
    "what a Consent hides with a record": 4,
    "what a Consent hides with its content": 4,
    "one patient's emergency for all": 4,
}
"""The first ward, by its seed, that shows the leak; ward 0 does where none is named."""


@cache
def known() -> Meaning:
    return meaning()


async def _missed(folder: Path) -> list[str]:
    """The leaks that the wards do not show."""
    stores = [SqliteStore.open(folder / name) for name in ("full", "lacking")]
    proving = Proving("sqlite", *stores, known())
    await proving.open()
    missed = []
    for number, leak in enumerate(PLANTS):
        proving.proof.differences.clear()
        with planted(leak):
            seed = FIRST_CAUGHT.get(leak, 0)
            await proving.ward(seed, f"leak{number}w", is_first_enough=True)
        if not proving.proof.differences:
            missed.append(leak)
    for store in stores:
        await store.close()
    return missed


def test_what_is_hidden_answers_as_what_does_not_exist(tmp_path: Path) -> None:
    proof = asyncio.run(proved(known(), tmp_path, None, count=SAMPLE, seed=100))
    assert proof.differences == []
    assert proof.triples >= SAMPLE
    assert proof.kept > proof.wards // 2
    assert proof.guarded > 0
    assert len(proof.by_route) > 20


@pytest.mark.mongodb
def test_and_so_it_does_on_mongodb(mongodb_server: str) -> None:
    proof = asyncio.run(proved(known(), None, mongodb_server, count=90, seed=200))
    assert proof.differences == []


def test_every_planted_leak_is_noticed(tmp_path: Path) -> None:
    assert asyncio.run(_missed(tmp_path)) == []


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        run({"colour": "red"})
