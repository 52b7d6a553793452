"""Servers for the journeys, each started once for all of them, and a watched page."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.clinician import Watched
from tests.journeys.running import Installation, served

SIZE = {"width": 1040, "height": 1000}


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """On the embedded store."""
    with served(tmp_path_factory.mktemp("journeys") / "data") as running:
        yield running


@pytest.fixture
def service_on_mongodb(
    mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """On MongoDB, in a database of its own."""
    from pymongo import MongoClient

    database = f"medsage_journey_{uuid.uuid4().hex}"
    folder = tmp_path_factory.mktemp("journeys") / "data"
    try:
        with served(folder, mongodb_uri=mongodb_server, mongodb_database=database) as running:
            yield running
    finally:
        with MongoClient[dict[str, object]](mongodb_server) as client:
            client.drop_database(database)


@pytest.fixture
def watched(page: Page) -> Watched:
    """A page of a new browser profile."""
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    return Watched(page)


@pytest.fixture
def without_scripts(browser: Browser) -> Iterator[Page]:
    """A page of a profile that runs no scripts."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.set_default_navigation_timeout(60_000)
    yield page
    context.close()


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    """Keep a picture of a page in the folder that MEDSAGE_TEST_SCREENSHOTS names, if it is set."""
    folder = os.environ.get("MEDSAGE_TEST_SCREENSHOTS")

    def keep(page: Page, name: str) -> None:
        if folder:
            page.screenshot(path=f"{folder}/{name}.png", animations="disabled")

    return keep
