"""The Synthea set goes in as transactions, on both stores, and each type has its count."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from bench.patients import DEFAULT, Bundle, bundles
from fhir_server.search.expression import Query
from tests.fhir_world import JSON, fhir_world
from tests.stores import Place, place

__all__ = ["place"]

pytestmark = [pytest.mark.shared, pytest.mark.slow]

AT_ONCE = 4


async def test_counts_per_type_match_what_the_bundles_hold(place: Place, tmp_path: Path) -> None:
    sent, store = bundles(DEFAULT), await place.store()
    expected = sum((each.types for each in sent), Counter[str]())

    async with fhir_world(tmp_path, store=store, max_body_bytes=64 * 1024 * 1024) as world:
        await _load(world.http, sent)

    assert {type_: await store.count(Query(type_)) for type_ in expected} == dict(expected)


async def _load(http: httpx.AsyncClient, sent: Sequence[Bundle]) -> None:
    waiting = iter(sent)

    async def client() -> None:
        for each in waiting:
            answer = await http.post("", content=each.body, headers=JSON)
            assert answer.status_code == 200, answer.text[:500]

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
