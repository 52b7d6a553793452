"""Ids and time of a running process."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from fhir_server.system import SteadyClock, new_id, utc_now


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


class Machine:
    """A clock that can be put back, and ticks that can't."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 11, 24, 8, tzinfo=UTC)
        self.ticks = 100.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.ticks)

    def after(self, seconds: float, *, put: float = 0.0) -> float:
        """Seconds since the beginning as the clock tells them, so much later, with the machine's
        clock put forward or back meanwhile."""
        self.ticks += seconds
        self.wall += timedelta(seconds=seconds + put)
        return (self.clock() - datetime(2026, 11, 24, 8, tzinfo=UTC)).total_seconds()


def test_time_never_goes_back_and_meets_the_machines_again() -> None:
    machine = Machine()
    assert machine.after(10) == 10
    assert machine.after(2, put=-60) == 11, "goes on, at half its pace"
    assert machine.after(0) == 11
    told = [machine.after(20) for _ in range(6)]
    assert told == sorted(told)
    assert told[:2] == [21, 31]
    assert told[-1] == machine.after(0) == 10 + 2 - 60 + 120, "the machine's again"


def test_a_clock_put_forward_and_back_stays_in_order() -> None:
    machine = Machine()
    assert machine.after(1, put=3600) == 3601
    assert machine.after(2, put=-3600) == 3602


def test_a_process_goes_on_from_what_others_have_told() -> None:
    machine = Machine()
    machine.clock.begin_at(machine.wall + timedelta(seconds=30))
    assert machine.after(2) == 31
    machine.clock.begin_at(machine.wall - timedelta(days=1))
    assert machine.after(2) == 32
