"""The checks of `medsage bench proof-availability` find what is planted."""

import json
import re
from collections.abc import Callable

import pytest

from bench.kill.checks import TYPES, Findings, Stored
from bench.proof_availability import run
from bench.shape.cases import POLL_SECONDS
from bench.shape.checks import Seen, check_availability, check_tasks, check_writes
from bench.shape.ledger import Ledger, located, measured, names_of_transaction
from bench.shape.tally import Tallies, availability
from deploy.processes.plan import ROOT

CREATED, UPDATED = ("Observation/a", "1"), ("Observation/kept-1", "2")


def written() -> tuple[Ledger, Seen]:
    """A run in which nothing was lost: a create, an update and a transaction, all acknowledged,
    and a create and a transaction that were not, the one written and the other not."""
    ledger, seen = Ledger(), Seen()
    ledger.take("https://h/fhir/Observation/a/_history/1", measured("create-1", 1, "load-1"))
    ledger.take("Observation/kept-1/_history/2", measured("kept-1", 5, "load-0"))
    ledger.transactions = {2, 3}
    for place, name in enumerate(names_of_transaction(2)):
        ledger.take(f"Observation/t{place}/_history/1", measured(name, 2, "load-2"))
    ledger.unknown = {"create-9", *names_of_transaction(3)}
    for each in ledger.acknowledged:
        stored = {**each.content, "id": "x", "meta": {"versionId": each.version}}
        seen.contents[each.reference, each.version] = stored
    seen.names.update(["create-1", "kept-1", "create-9", *names_of_transaction(2)])
    seen.values["Observation/kept-1"] = [4, 5]
    return ledger, seen


def faults(ledger: Ledger, seen: Seen) -> list[str]:
    found = Findings()
    check_writes(ledger, seen, found)
    return sorted(found.faults)


def test_a_run_that_lost_nothing_passes_and_counts_what_was_not_acknowledged() -> None:
    ledger, seen = written()
    found = Findings()
    check_writes(ledger, seen, found)
    assert not found.faults
    assert found.counts["writes"] == {
        "acknowledged_versions": 5,
        "not_acknowledged": 4,
        "of_these_written": 1,
    }


def _lose(seen: Seen) -> None:
    seen.contents[CREATED] = None


def _alter(seen: Seen) -> None:
    seen.contents[UPDATED] = measured("kept-1", 6, "load-0")


def _double(seen: Seen) -> None:
    seen.names["create-9"] += 1


def _update_twice(seen: Seen) -> None:
    seen.values["Observation/kept-1"] = [4, 5, 5]


def _halve(seen: Seen) -> None:
    seen.names["transaction-3.1"] = 1


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (_lose, "lost versions"),
        (_alter, "acknowledged versions that differ"),
        (_double, "resources written twice"),
        (_update_twice, "updates made twice"),
        (_halve, "half transactions"),
    ],
)
def test_what_is_planted_is_found(plant: Callable[[Seen], None], kind: str) -> None:
    ledger, seen = written()
    plant(seen)
    assert faults(ledger, seen) == [kind]


def test_an_accepted_task_that_is_not_there_is_lost() -> None:
    stored = Stored({type_: {} for type_ in TYPES})
    stored.resources["Task"]["Task/1"] = {"resourceType": "Task", "id": "1"}
    found = Findings()
    check_tasks(Ledger(tasks={"1", "2"}), stored, found)
    assert dict(found.faults) == {"lost Tasks": ["2"]}


def tallied(asked: int, failed: int) -> Tallies:
    tallies = Tallies()
    tally = tallies.of("read")
    tally.asked, tally.failed, tally.failed_first = asked, failed, 2 * failed
    return tallies


@pytest.mark.parametrize(("failed", "passes"), [(0, True), (10, True), (11, False)])
def test_one_in_a_thousand_may_fail_and_no_more(failed: int, passes: bool) -> None:
    found = Findings()
    check_availability(tallied(10_000, failed), found)
    assert (not found.faults) is passes
    assert found.counts["availability"]["whole"]["without_a_retry"] == 1 - 2 * failed / 10_000


def test_a_share_is_rounded_down_and_nobody_asking_is_no_availability() -> None:
    assert tallied(10_000_000, 10_001).availability()["share"] == 0.998999
    assert availability([])["share"] == 0.0


def test_phases_are_told_apart_and_counted_together() -> None:
    tallies = tallied(10, 1)
    tallies.phase = "kill-store"
    tallies.of("read").asked += 30
    assert tallies.availability("kill-store")["share"] == 1.0
    assert tallies.availability()["requests"] == 40
    assert tallies.by_class()["read"]["requests"] == 40
    assert tallies.phases() == ["calm", "kill-store"]


@pytest.mark.parametrize("location", ["", "Observation/1", "_history/1"])
def test_what_is_no_location_of_a_version_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="not the location"):
        located(location)


@pytest.mark.parametrize("options", [{"speed": "1"}, {"faults": "kill-server,earthquake"}])
def test_what_the_proof_does_not_know_is_refused_before_anything_starts(
    options: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match=r"speed|earthquake"):
        run(options)


def test_clinicians_of_the_load_look_as_often_as_a_page_without_a_stream_of_events() -> None:
    script = (ROOT / "smart_app/static/js/events.js").read_text("utf-8")
    (pauses,) = re.findall(r"const POLL = (\[.*?\])", script)
    assert [1000 * each for each in POLL_SECONDS] == json.loads(pauses)
