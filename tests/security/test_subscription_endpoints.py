"""Server-side request forgery by Subscriptions: an endpoint is somebody else's choice. It is judged
by its addresses when it is asked for, before it is put in force, and again with each notification,
since a name may lead elsewhere by then (DNS rebinding)."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.app import endpoints_of
from fhir_server.security.checked_fetch import is_allowed, networks_from
from fhir_server.security.endpoints import ANYWHERE, WORKER, Endpoints, OutOfReach, Within
from fhir_server.security.principal import own_principal
from fhir_server.settings import Settings
from tests.fhir_world import Json, fhir_world, issues
from tests.loopback_site import Names, server_tls, site, trusting
from tests.subscription_world import Hook, Subscribed, subscription, task

NAMED = "MEDSAGE_SUBSCRIPTION_NETWORKS"
TAKEN = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
OUTSIDE = [
    "127.0.0.1",
    "10.20.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "fd00::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
]


@asynccontextmanager
async def bounded(folder: Path, names: Names, networks: str = "") -> AsyncIterator[Subscribed]:
    """A server that lets notifications be sent to the public internet and to these networks."""
    endpoints = Endpoints(networks_from(networks), resolve=names)
    async with (
        fhir_world(folder, endpoints=endpoints) as world,
        httpx.AsyncClient(transport=Within(endpoints, ssl.create_default_context())) as http,
    ):
        yield Subscribed(world, Hook(), http, endpoints=endpoints)


def at(endpoint: str, **changes: Any) -> Json:
    return subscription(channel={"endpoint": endpoint}, **changes)


@pytest.mark.parametrize("address", OUTSIDE)
async def test_an_endpoint_inside_the_network_is_refused_by_the_setting_that_would_let_it(
    address: str, tmp_path: Path
) -> None:
    async with bounded(tmp_path, Names(["93.184.215.14", address])) as opened:
        answer = await opened.world.post("/Subscription", at("https://hook.example/told"))
        assert answer.status_code == 422
        (issue,) = issues(answer)
        assert (issue["code"], issue["expression"]) == (
            "business-rule",
            ["Subscription.channel.endpoint"],
        )
        assert NAMED in issue["diagnostics"]
        # A name's address is not told to who may not know the network.
        assert address not in issue["diagnostics"]
        assert await opened.world.count("Subscription") == 0


async def test_a_public_endpoint_is_taken_and_so_is_one_in_a_network_that_is_named(
    tmp_path: Path,
) -> None:
    async with bounded(tmp_path, Names(["93.184.215.14"], ["10.20.0.1"]), "10.20.0.0/16") as opened:
        for _ in range(2):
            made = await opened.world.post("/Subscription", at("http://hook.example/told"))
            assert made.status_code == 201


async def test_it_is_judged_in_updates_batches_and_transactions_too(tmp_path: Path) -> None:
    async with bounded(tmp_path, Names(["10.0.0.1"])) as opened:
        world, wanted = opened.world, at("http://hook.example/told")
        put = await world.put("/Subscription/s", {**wanted, "id": "s"})
        assert (put.status_code, NAMED in put.text) == (422, True)
        request = {"method": "POST", "url": "Subscription"}
        entries = [
            {"resource": task(), "request": {"method": "POST", "url": "Task"}},
            {"resource": wanted, "request": request},
        ]
        for kind in ("batch", "transaction"):
            sent = {"resourceType": "Bundle", "type": kind, "entry": entries}
            answer = await world.post("", sent)
            assert answer.status_code == (200 if kind == "batch" else 422)
            assert NAMED in answer.text
        (issue,) = issues(answer)
        assert issue["expression"] == ["Bundle.entry[1].resource.channel.endpoint"]
        assert (await world.count("Subscription"), await world.count("Task")) == (0, 1)


async def test_one_that_came_by_a_patch_is_not_put_in_force_and_says_why(tmp_path: Path) -> None:
    async with bounded(tmp_path, Names(["93.184.215.14"], ["10.0.0.1"])) as opened:
        id_ = await opened.world.create(at("https://hook.example/told", status="off"))
        here = {"op": "replace", "path": "/status", "value": "requested"}
        assert (await opened.world.patch(f"/Subscription/{id_}", [here])).status_code == 200
        # The first look at its name is that of the follower; the second one leads inside.
        names: Any = opened.endpoints.resolve
        names.answers = [["10.0.0.1"]]
        await opened.follow()
        found = await opened.read(id_)
        assert found["status"] == "error"
        assert NAMED in found["error"]


async def test_one_that_lies_outside_can_still_be_switched_off(tmp_path: Path) -> None:
    async with bounded(tmp_path, Names(["10.0.0.1"])) as opened:
        wanted = at("http://hook.example/told", status="off")
        assert (await opened.world.post("/Subscription", wanted)).status_code == 201


async def test_a_name_without_an_address_is_judged_when_something_is_sent(tmp_path: Path) -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with bounded(tmp_path, nowhere) as opened:  # type: ignore[arg-type]
        id_ = await opened.subscribe(channel={"endpoint": "http://hook.example/told"})
        await opened.world.create(task())
        await opened.follow()
        assert await opened.deliver() == 0
        assert len(await opened.waiting()) == 1
        assert (await opened.read(id_))["status"] == "active"


@pytest.mark.parametrize("endpoint", ["http://a..b/", f"http://{'a' * 64}.example/"])
async def test_what_can_be_no_name_is_an_endpoint_that_is_not_reached(endpoint: str) -> None:
    bound = Endpoints(())
    await bound.require(endpoint)
    async with httpx.AsyncClient(transport=Within(bound, ssl.create_default_context())) as http:
        with pytest.raises(httpx.ConnectError):
            await http.post(endpoint)


async def test_a_name_that_leads_inside_later_is_sent_nothing_then(tmp_path: Path) -> None:
    names = Names(["93.184.215.14"])
    async with site(TAKEN) as inside, bounded(tmp_path, names) as opened:
        endpoint = f"http://hook.example:{inside.port}/told"
        id_ = await opened.subscribe(channel={"endpoint": endpoint})
        await opened.world.create(task())
        await opened.follow()
        names.answers = [["127.0.0.1"]]
        assert await opened.deliver() == 0
        assert inside.requests == []
        assert (await opened.read(id_))["status"] == "active"
        opened.world.clock.now += timedelta(hours=25)
        await opened.deliver()
        found = await opened.read(id_)
        assert (found["status"], NAMED in found["error"]) == ("error", True)
        assert inside.requests == []


async def test_what_was_judged_is_what_is_connected_to(tmp_path: Path) -> None:
    """The name is resolved once for each notification; a second answer would lead elsewhere."""
    names = Names(["127.0.0.1"])
    async with site(TAKEN) as hook, bounded(tmp_path, names, "127.0.0.0/8") as opened:
        endpoint = f"http://hook.example:{hook.port}/told"
        await opened.subscribe(channel={"endpoint": endpoint, "header": ["X-Token: a b"]})
        await opened.world.create(task())
        await opened.follow()
        names.asked, names.answers = 0, [["127.0.0.1"], ["10.0.0.1"]]
        assert await opened.deliver() == 1
        assert names.asked == 1
        (request,) = hook.requests
        assert request.startswith(b"POST /told HTTP/1.1\r\n")
        assert f"Host: hook.example:{hook.port}\r\n".encode() in request
        assert b"X-Token: a b\r\n" in request


async def test_of_several_addresses_the_next_is_tried(tmp_path: Path) -> None:
    names = Names(["127.0.0.9", "127.0.0.1"])
    async with site(TAKEN) as hook, bounded(tmp_path, names, "127.0.0.0/8") as opened:
        await opened.subscribe(channel={"endpoint": f"http://hook.example:{hook.port}/told"})
        await opened.world.create(task())
        await opened.follow()
        assert await opened.deliver() == 1


async def test_the_certificate_must_be_of_the_name_and_not_of_the_address(tmp_path: Path) -> None:
    endpoints = Endpoints(networks_from("127.0.0.0/8"), resolve=Names(["127.0.0.1"]))
    async with (
        site(TAKEN, server_tls(tmp_path)) as hook,
        httpx.AsyncClient(transport=Within(endpoints, trusting())) as http,
    ):
        sent = await http.post(f"https://keys.test:{hook.port}/told")
        assert sent.status_code == 204
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await http.post(f"https://other.test:{hook.port}/told")


async def test_the_installations_own_worker_may_be_woken_where_it_is(tmp_path: Path) -> None:
    async with bounded(tmp_path, Names(["172.30.20.7"])) as opened:
        wanted = at("http://worker:5000/models/notifications")
        assert (await opened.world.post("/Subscription", wanted)).status_code == 422
        scopes = "system/Subscription.cruds"
        opened.world.caller.principal = replace(own_principal(WORKER, "Worker"), scopes=scopes)
        assert (await opened.world.post("/Subscription", wanted)).status_code == 201


async def test_without_a_bound_no_name_is_asked_for() -> None:
    names = Names(["10.0.0.1"])
    await replace(ANYWHERE, resolve=names).require("http://hook.example/")
    assert names.asked == 0


def test_development_reaches_its_own_machine_and_production_named_networks_alone() -> None:
    dev = endpoints_of(_settings(profile="dev"))
    assert is_allowed("127.0.0.1", dev.networks)
    assert not is_allowed("10.20.0.1", dev.networks)
    prod = endpoints_of(
        _settings(
            profile="prod", base_url="https://medsage.example", subscription_networks="10.20.0.0/16"
        )
    )
    assert is_allowed("10.20.0.1", prod.networks)
    assert not is_allowed("127.0.0.1", prod.networks)
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        _settings(subscription_networks="10.20.0.0/16, 10.0.0.1/8")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_an_installation_for_its_own_machine_alone_reaches_what_listens_there(host: str) -> None:
    trial = endpoints_of(_settings(profile="prod", base_url=f"https://{host}:8443"))
    assert is_allowed("127.0.0.1", trial.networks)
    assert not is_allowed("10.20.0.1", trial.networks)


async def test_origins_of_this_installation_are_its_own_wherever_they_lie() -> None:
    settings = _settings(
        profile="prod", base_url="https://medsage.example", worker_url="http://worker:5000"
    )
    endpoints = replace(endpoints_of(settings), resolve=Names(["172.30.20.7"]))
    for own in ("https://medsage.example:443/x", "http://WORKER:5000/models/notifications"):
        await endpoints.require(own)
    for other in ("http://worker:5001/", "https://worker:5000/", "http://medsage.example/"):
        with pytest.raises(OutOfReach):
            await endpoints.require(other)


def _settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]
