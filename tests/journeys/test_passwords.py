"""Another password of Redis and of MongoDB, by the commands of docs/operating.md, while a clinician
is signed in and a service writes: nobody is refused, and nothing of it is lost.

MongoDB (or its stand-in) asks for users and passwords here."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from playwright.sync_api import Browser
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import AuthenticationError

from deploy import dev_mongodb
from deploy.processes.shape import Shape
from tests.availability import ROOT
from tests.journeys import clinician as dr
from tests.journeys.installation import (
    PASSWORD,
    Installation,
    add_user,
    aside,
    environment,
    register,
)
from tests.nginx_door import free_port
from tests.operating_page import blocks

pytestmark = [
    pytest.mark.mongodb,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.nginx,
    pytest.mark.browser,
]

CHAPTER = "Passwords of Redis and MongoDB"
ROOT_PASSWORD = "of-who-keeps-mongodb-0123456789"
SECONDS = 600.0
READ_WRITE = [{"role": "readWrite", "db": "medsage"}]


@dataclass(frozen=True)
class GuardedMongo:
    """A MongoDB that asks for a password, and who keeps its users."""

    port: int

    def address(self, user: str, password: str, database: str = "medsage") -> str:
        place = f"127.0.0.1:{self.port}/?directConnection=true&authSource={database}"
        return f"mongodb://{user}:{password}@{place}"

    def keep(self, command: str, user: str, **given: Any) -> None:
        with MongoClient[Any](self.address("root", ROOT_PASSWORD, "admin")) as keeper:
            keeper.medsage.command(command, user, **given)


@pytest.fixture
def mongodb(tmp_path: Path) -> Iterator[GuardedMongo]:
    program, data = dev_mongodb.find(os.environ), tmp_path / "mongodb"
    with dev_mongodb.running(program, data) as (uri, _), MongoClient[Any](uri) as client:
        client.admin.command("createUser", "root", pwd=ROOT_PASSWORD, roles=["root"])
    port = free_port()
    key = tmp_path / "keyfile"
    key.write_text("a key of one member")
    key.chmod(0o400)
    asks = ["--auth"] if program.name == dev_mongodb.STAND_IN else ["--keyFile", str(key)]
    command = [*dev_mongodb.command(program, data, port), *asks]
    with (tmp_path / "mongodb.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        guarded = GuardedMongo(port)
        with MongoClient[Any](guarded.address("root", ROOT_PASSWORD, "admin")) as keeper:
            keeper.admin.command("ping")
        yield guarded
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True)
class Site:
    """The folder of a shape, and the shell of who operates it."""

    folder: Path

    def run(self, script: str, typed: str = "", ends: int = 0, **variables: str) -> str:
        here = script.replace("./deploy.sh --processes", f"{sys.executable} -m deploy.processes")
        here = here.replace("var/", f"{self.folder}/")
        given = {"PATH": os.environ["PATH"], "HOME": str(self.folder.parent), **variables}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here],
            cwd=ROOT,
            env={**given, "PYTHONPATH": str(ROOT), "MEDSAGE_PROCESSES": str(self.folder)},
            input=typed,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == ends, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @property
    def shape(self) -> Shape:
        return Shape.open(self.folder)

    @property
    def processes(self) -> Mapping[str, int | None]:
        return {name: part.pid for name, part in self.shape.parts.items()}

    def secret(self, name: str) -> str:
        return (self.shape.written.secrets / name).read_text("utf-8").strip()


@pytest.fixture
def site(tmp_path: Path, mongodb: GuardedMongo) -> Iterator[Site]:
    first = "a-first-one-0123456789"
    mongodb.keep("createUser", "medsage", pwd=first, roles=READ_WRITE)
    here = Site(tmp_path / "var")
    try:
        here.run(
            f"./deploy.sh --processes prod --port {free_port()} --servers 1 --workers 1 --apps 1",
            MEDSAGE_MONGODB_URI=mongodb.address("medsage", first),
            MEDSAGE_DRAIN_SECONDS="0",
        )
        yield here
    finally:
        here.run("./deploy.sh --processes cleanup")


@dataclass
class Seen:
    """What was answered to the clinician and to the service, and what was acknowledged to it."""

    statuses: list[tuple[str, int]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def refused(self) -> list[tuple[str, int]]:
        return [each for each in self.statuses if each[1] not in (200, 201)]


@contextmanager
def at_work(installation: Installation, page: str, cookies: Mapping[str, str]) -> Iterator[Seen]:
    """The clinician opens a page, and the service writes, again and again."""
    seen, ended = Seen(), threading.Event()

    def work() -> None:
        turn, headers = 0, {}
        with installation.browser() as service, installation.browser() as app:
            app.follow_redirects = False
            app.cookies.update(dict(cookies))
            while not ended.wait(0.1):
                if turn % 300 == 0:
                    headers = {"Authorization": f"Bearer {installation.token()}"}
                turn += 1
                body = {"resourceType": "Patient", "name": [{"family": f"Turn{turn}"}]}
                written = service.post(
                    f"{installation.origin}/fhir/Patient", json=body, headers=headers
                )
                seen.statuses.append(("write", written.status_code))
                if written.status_code == 201:
                    seen.acknowledged.append(written.headers["Location"])
                seen.statuses.append(("page", app.get(page).status_code))

    working = threading.Thread(target=work)
    working.start()
    try:
        yield seen
    finally:
        ended.set()
        working.join()


def commands(word: str) -> str:
    """The block of the chapter, for this form, in which the word stands."""
    found = [each for each in blocks() if each.heading == CHAPTER and each.needs == "processes"]
    (block,) = (each for each in found if word in each.text)
    return block.text


def signed_in(installation: Installation, browser: Browser) -> tuple[str, Mapping[str, str]]:
    """A page that is for who is signed in, and the cookies with which it opens."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{installation.origin}/app/")
    page.get_by_role("button", name="Sign in").click()
    dr.sign_in(page, "dr.test", PASSWORD)
    dr.arrive(page.main_frame, "Find a patient")
    cookies = {str(each["name"]): str(each["value"]) for each in context.cookies()}
    where = page.url
    context.close()
    return where, cookies


def test_both_passwords_are_changed_by_the_pages_commands_and_nobody_is_refused(
    site: Site, mongodb: GuardedMongo, browser: Browser
) -> None:
    key = ECKey.generate_key("P-384", {"kid": "his"}, private=True)
    given = environment(site.shape, "server-1")
    aside(register(given, key))
    add_user(given, site.folder)
    installation = Installation(site.shape, key)
    page, cookies = signed_in(installation, browser)
    started, old_redis = site.processes, site.secret("medsage_redis_url")
    second = mongodb.address("medsage-2", "a-second-one-0123456789")
    with at_work(installation, page, cookies) as seen:
        said = site.run(commands("redis_password"))
        assert "redis takes the new password alone" in said
        between = site.processes
        # Too early: there is no such user.
        too_early = site.run(commands("medsage_mongodb_uri"), typed=f"{second}\n", ends=1)
        assert "nothing was replaced" in too_early
        assert site.processes == between
        mongodb.keep("createUser", "medsage-2", pwd="a-second-one-0123456789", roles=READ_WRITE)
        site.run(commands("medsage_mongodb_uri"), typed=f"{second}\n")
        mongodb.keep("dropUser", "medsage")
        # Also once the old one counts for nobody.
        wanted = len(seen.acknowledged) + 5
        for _ in range(600):
            if len(seen.acknowledged) >= wanted:
                break
            threading.Event().wait(0.1)
    assert seen.refused() == []
    assert len(seen.acknowledged) >= wanted
    assert changed(started, between) == {"server-1", "app-1"}
    assert changed(between, site.processes) == {"server-1", "worker-1"}
    with pytest.raises(AuthenticationError), Redis.from_url(old_redis) as old:
        old.ping()
    with Redis.from_url(site.secret("medsage_redis_url")) as new:
        assert new.dbsize() > 0
    first = mongodb.address("medsage", "a-first-one-0123456789")
    with pytest.raises(PyMongoError), MongoClient[Any](first) as gone:
        gone.medsage.list_collection_names()
    headers = {"Authorization": f"Bearer {installation.token()}"}
    with installation.browser() as reader:
        for address in seen.acknowledged:
            url = address.partition("/_history")[0]
            assert reader.get(url, headers=headers).status_code == 200
    site.run("./deploy.sh --processes status")


def changed(before: Mapping[str, int | None], after: Mapping[str, int | None]) -> set[str]:
    return {name for name, pid in after.items() if pid != before[name]}
