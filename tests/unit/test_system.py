"""Ids and time of a running process."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

from fhir_server.system import new_id, utc_now


def test_an_id_is_a_random_uuid() -> None:
    for text in [new_id() for _ in range(200)]:
        found = uuid.UUID(text)

        assert str(found) == text
        assert found.version == 4
        assert found.variant == uuid.RFC_4122


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [new_id() for _ in range(2000)], range(8)))

    assert len({each for batch in batches for each in batch}) == 16_000


def test_the_clock_knows_its_zone() -> None:
    assert utc_now().tzinfo is UTC
