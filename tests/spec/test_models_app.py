"""What the models say of themselves, and the worker's wake-up call."""

import httpx
import pytest
from fastapi import FastAPI

from models.app import cards_router, notifications_router
from models.symptoms.card import symptom_card
from models.worker_device import SECRET_HEADER
from tests.smear_predictions import CARD

SECRET = "wake-up-and-nothing-more"


class Doorbell:
    """Counts how often it was rung."""

    rung = 0

    def ring(self) -> None:
        self.rung += 1


@pytest.fixture
def bell() -> Doorbell:
    return Doorbell()


def http(bell: Doorbell) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(notifications_router(bell.ring, SECRET))
    app.include_router(cards_router(lambda: [CARD, symptom_card()]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://models.test")


async def test_who_knows_the_secret_wakes_the_worker(bell: Doorbell) -> None:
    async with http(bell) as client:
        answer = await client.post("/models/notifications", headers={SECRET_HEADER: SECRET})

    assert (answer.status_code, bell.rung) == (204, 1)


@pytest.mark.parametrize("headers", [{}, {SECRET_HEADER: "guess"}, {SECRET_HEADER: SECRET + "x"}])
async def test_who_does_not_is_refused(bell: Doorbell, headers: dict[str, str]) -> None:
    async with http(bell) as client:
        answer = await client.post("/models/notifications", headers=headers)

    assert (answer.status_code, bell.rung) == (403, 0)


async def test_a_notification_that_goes_on_and_on_is_refused(bell: Doorbell) -> None:
    async with http(bell) as client:
        answer = await client.post(
            "/models/notifications", headers={SECRET_HEADER: SECRET}, content=bytes(70_000)
        )

    assert (answer.status_code, bell.rung) == (413, 0)


async def test_the_cards_are_served_as_json(bell: Doorbell) -> None:
    async with http(bell) as client:
        models = (await client.get("/models")).json()["models"]

    assert [model["id"] for model in models] == ["malaria-cell", "symptom-rules"]
    assert all(model["intendedUse"] and model["notFor"] and model["limits"] for model in models)


async def test_a_browser_gets_a_page(bell: Doorbell) -> None:
    async with http(bell) as client:
        answer = await client.get("/models", headers={"Accept": "text/html"})

    assert answer.headers["Content-Type"].startswith("text/html")
    assert "not for diagnosis" in answer.text
    assert "MedSAGE symptom rules" in answer.text


async def test_the_source_attributes_are_served_for_each_model(bell: Doorbell) -> None:
    async with http(bell) as client:
        found = (await client.get("/models/facts")).json()
        page = (await client.get("/models/facts", headers={"Accept": "text/html"})).text
    assert "not a medical device" in found["notice"]
    assert {len(model["facts"]) for model in found["models"]} == {31}
    assert page.count("<dt>") == 31 * len(found["models"])
