"""Search parameters of one's own where others rely on them: Subscriptions, and the command that
indexes everything anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.reindex import app
from fhir_server.app import ITSELF
from fhir_server.audit.journal import AuditTrail
from fhir_server.search.plan import Scope
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.subscriptions.notify import Follower
from fhir_server.subscriptions.owners import Owners
from fhir_server.subscriptions.state import DELIVERY, FollowerParts
from fhir_server.system import new_id
from tests.custom_world import Defining, defining_world, parameter
from tests.fhir_world import BASE
from tests.subscription_world import Seen, eventually, subscription


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Defining]:
    store = SqliteStore.open(tmp_path / "fhir.sqlite")
    async with defining_world(tmp_path, store) as running:
        yield running
    await store.close()


async def follow(own: Defining, marker: str) -> None:
    """Follow the feed from the stored position to the marker."""
    live, clock = own.process.live, own.world.clock
    parts = FollowerParts(
        store=Seen(own.world.store, f"Basic/{marker}"),  # type: ignore[arg-type]
        extract=live.extract,
        scope=lambda: Scope(live.known.in_hand, clock(), BASE),
        clock=clock,
        audit=AuditTrail(ITSELF, clock, new_id, BASE),
        owners=Owners(own.world.store, lambda: live.known, Rulebook(own.world.store, clock)),
    )
    await Follower(parts, lambda: None).follow()


async def mark(own: Defining, marker: str) -> None:
    basic = {"resourceType": "Basic", "id": marker, "code": {"text": "marker"}}
    assert (await own.world.put(f"/Basic/{marker}", basic)).status_code == 201


async def follow_to_now(own: Defining, marker: str) -> None:
    await mark(own, marker)
    await follow(own, marker)


async def status(own: Defining, id_: str) -> str:
    found: str = (await own.world.get(f"/Subscription/{id_}")).json()["status"]
    return found


async def test_a_subscription_needs_no_index(own: Defining) -> None:
    defined = await own.define()
    id_ = await own.world.create(subscription(criteria="Patient?nickname=bo"))
    await follow_to_now(own, "one")
    assert await status(own, id_) == "active"
    for name in ("Bo", "Al"):
        names = [{"use": "nickname", "given": [name]}]
        await own.world.create({"resourceType": "Patient", "name": names})
    await follow_to_now(own, "two")
    assert len(await own.world.store.records(DELIVERY)) == 1
    answer = await own.world.put(
        f"/SearchParameter/{defined}", parameter(id=defined, status="retired")
    )
    assert answer.status_code == 200
    await follow_to_now(own, "three")
    assert await status(own, id_) == "error"


async def test_a_follower_under_way_learns_what_criteria_mean_now(own: Defining) -> None:
    defined = await own.define()
    id_ = await own.world.create(subscription(criteria="Patient?nickname=bo"))
    following = asyncio.create_task(follow(own, "end"))

    async def is_active() -> bool:
        return await status(own, id_) == "active"

    await eventually(is_active)
    changed = parameter(id=defined, expression="Patient.name.family")
    assert (await own.world.put(f"/SearchParameter/{defined}", changed)).status_code == 200
    await own.world.create({"resourceType": "Patient", "name": [{"family": "Bo"}]})
    await own.world.create({"resourceType": "Patient", "name": [{"given": ["Bo"]}]})
    await mark(own, "end")
    await following
    assert len(await own.world.store.records(DELIVERY)) == 1
    assert await is_active()


def test_the_command_indexes_everything_and_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner, folder = CliRunner(), ["--data", str(tmp_path / "data")]
    assert "The search index is whole." in runner.invoke(app, [*folder, "--status"]).output
    monkeypatch.setattr("fhir_server.search.fingerprint.ENCODING", 99)
    waiting = runner.invoke(app, [*folder, "--status"])
    assert (waiting.exit_code, waiting.output.startswith("0 % done; ")) == (0, True)
    done = runner.invoke(app, folder)
    assert (done.exit_code, "The search index is whole." in done.output) == (0, True)
    assert "The search index is whole." in runner.invoke(app, [*folder, "--status"]).output
