"""What makes a part of the shape of processes "the same": its code, its settings and the content of
its secret files. What differs is replaced by the next `prod`, and nothing else is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from typer.testing import CliRunner

from deploy import secret_files
from deploy.beside import MAY
from deploy.processes import redis_password, running, supervisor, upgrade, verbs, versions
from deploy.processes.running import Running, State
from deploy.processes.shape import Shape
from deploy.processes.upgrade import WentBack, moved
from deploy.processes.verbs import app
from tests.availability import ROOT
from tests.small_shape import OLD, planned, small_shape, start, versions_of


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shape]:
    with small_shape(tmp_path, monkeypatch) as shape:
        start(shape, tmp_path / OLD)
        yield shape


def pids(shape: Shape) -> dict[str, int | None]:
    return {part.name: part.pid for part in shape.replaceable}


def put(shape: Shape, secret: str, text: str) -> None:
    file = shape.written.secrets / secret
    file.chmod(0o600)
    file.write_text(text, "utf-8")


def replaced(shape: Shape, before: dict[str, int | None]) -> set[str]:
    return {name for name, pid in pids(shape).items() if pid != before[name]}


@pytest.mark.parametrize(
    ("secret", "whose"),
    [
        ("medsage_redis_url", {"server-1", "server-2", "app-1", "app-2"}),
        ("medsage_mongodb_uri", {"server-1", "server-2", "worker-1"}),
        ("backup_key", {"worker-1"}),
        ("grafana_password", set()),
    ],
)
def test_a_changed_secret_replaces_the_parts_that_are_given_it_once(
    secret: str, whose: set[str], small: Shape, tmp_path: Path
) -> None:
    before = pids(small)
    put(small, secret, "another")
    told: list[str] = []
    moved(small, tmp_path / OLD, told.append)
    assert replaced(small, before) == whose
    assert told == [f"{name} runs with what it is given now" for name in pids(small)
                    if name in whose]  # fmt: skip
    after = pids(small)
    moved(small, tmp_path / OLD, told.append)
    assert pids(small) == after


def test_a_changed_setting_replaces_the_parts_that_are_given_it(
    small: Shape, tmp_path: Path
) -> None:
    before = pids(small)
    other = Shape(replace(small.written, settings={"MEDSAGE_BACKUP_MINUTES": "5"}))
    moved(other, tmp_path / OLD, lambda _: None)
    assert replaced(small, before) == {"worker-1"}


def test_what_a_part_was_given_is_kept_without_its_secrets(small: Shape, tmp_path: Path) -> None:
    files = [each.read_text("utf-8") for each in (small.written.folder / "run").glob("*.json")]
    assert files
    for secret in small.written.secrets.iterdir():
        text = secret.read_text("utf-8").strip() if secret.is_file() else ""
        assert not [each for each in files if text and text in each]


def test_a_supervisor_of_an_earlier_version_can_read_who_runs(small: Shape) -> None:
    """It knows these members of a process and no others, and takes a file that it can't read for a
    torn one."""
    written = json.loads((small.written.folder / "run/server-1.json").read_text("utf-8"))
    assert set(written["running"]) == {"pid", "began", "port", "code"}
    assert written["other"] is None


def test_a_part_of_an_earlier_version_of_which_nobody_knows_what_it_was_given_is_replaced(
    small: Shape, tmp_path: Path
) -> None:
    file = small.written.folder / "run/app-1.json"
    found = small.parts["app-1"].state.running
    assert found is not None
    without = Running(found.pid, found.began, found.port, found.code)
    running.write(file, State(True, without))
    before = pids(small)
    moved(small, tmp_path / OLD, lambda _: None)
    assert replaced(small, before) == {"app-1"}


def test_settings_with_which_a_part_does_not_get_ready_are_taken_back(
    small: Shape, tmp_path: Path
) -> None:
    other = Shape(replace(small.written, settings={"MEDSAGE_LOG_LEVEL": "debug"}))
    before = {part.name: part.state.running.given for part in small.replaceable
              if part.state.running}  # fmt: skip
    (tmp_path / OLD / "broken-worker").touch()
    with pytest.raises(WentBack, match="worker-1 ended"):
        moved(other, tmp_path / OLD, lambda _: None)
    after = {part.name: part.state.running.given for part in small.replaceable
             if part.state.running}  # fmt: skip
    assert after == before
    assert versions_of(small) == {OLD}


@pytest.fixture
def prod(
    small: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """The verb `prod` with the variables given, without MongoDB, Redis and nginx."""
    monkeypatch.setattr(Shape, "start", lambda _: None)
    monkeypatch.setattr(verbs, "_start_backing", lambda _: None)
    monkeypatch.setattr(supervisor, "start", lambda *_: None)
    monkeypatch.setattr(versions, "kept", lambda *_: tmp_path / OLD)
    monkeypatch.setattr(upgrade, "medsage", lambda *given: MAY if len(given) > 4 else 0)

    def run(*words: str, **variables: Any) -> tuple[int, str]:
        folder = str(small.written.folder)
        done = CliRunner().invoke(app, ["prod", "--folder", folder, *words], env=variables)
        return done.exit_code, done.stderr

    return run


def test_prod_takes_up_the_settings_of_now_and_keeps_those_that_are_not_named(
    small: Shape, prod: Callable[..., tuple[int, str]]
) -> None:
    before = pids(small)
    code, told = prod(MEDSAGE_TENANTS="north", MEDSAGE_BACKUP_MINUTES="5")
    assert code == 0
    assert "MEDSAGE_TENANTS is another than before" in told
    assert replaced(small, before) == set(before)
    kept = {"MEDSAGE_TENANTS": "north", "MEDSAGE_BACKUP_MINUTES": "5"}
    assert Shape.open(small.written.folder).written.settings == kept
    between = pids(small)
    code, told = prod(MEDSAGE_TENANTS="north", MEDSAGE_BACKUP_MINUTES=None)
    assert (code, pids(small)) == (0, between)
    assert "MEDSAGE_BACKUP_MINUTES goes on as it was set before" in told
    # Named without a value it is the program's default again.
    assert prod(MEDSAGE_TENANTS="north", MEDSAGE_BACKUP_MINUTES="")[0] == 0
    assert replaced(small, between) == {"worker-1"}
    assert Shape.open(small.written.folder).written.settings == {"MEDSAGE_TENANTS": "north"}


def test_settings_that_do_not_get_ready_are_not_written_down(
    small: Shape, tmp_path: Path, prod: Callable[..., tuple[int, str]]
) -> None:
    (tmp_path / OLD / "broken-server").touch()
    code, told = prod(MEDSAGE_TENANTS="north")
    assert (code, "server-1 ended" in told) == (1, True)
    assert Shape.open(small.written.folder).written.settings == {}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MEDSAGE_BASE_URL", "https://other.example", "has MEDSAGE_BASE_URL https://localhost:8443"),
        ("MEDSAGE_MONGODB_URI", "mongodb://db/", "has a MongoDB of its own; cleanup"),
        ("MEDSAGE_REDIS_URL", "redis://db/", "has a Redis of its own; cleanup"),
    ],
)  # fmt: skip
def test_what_makes_another_shape_is_refused_and_not_left_out_unsaid(
    name: str, value: str, told: str, prod: Callable[..., tuple[int, str]]
) -> None:
    code, said = prod(**{name: value})
    assert (code, told in said) == (1, True), said


def test_an_address_that_differs_from_the_secret_file_is_refused_without_showing_it(
    tmp_path: Path,
) -> None:
    shape = planned(tmp_path, mongodb="mongodb://u:pass-1@db/", redis="redis://r/")
    folder = str(shape.written.folder)
    given = {"MEDSAGE_MONGODB_URI": "mongodb://u:pass-2@db/"}
    done = CliRunner().invoke(app, ["prod", "--folder", folder], env=given)
    assert done.exit_code == 1
    assert "MEDSAGE_MONGODB_URI is another than in" in done.stderr
    assert "secrets/medsage_mongodb_uri" in done.stderr
    assert "pass-" not in done.stderr


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Shape]:
    """A shape of which Redis runs and nothing else."""
    shape = planned(tmp_path, mongodb="mongodb://127.0.0.1:1/")
    shape.parts["redis"].start(ROOT)
    yield shape
    shape.parts["redis"].stop()


def by(address: str) -> Redis:
    return Redis.from_url(address, socket_timeout=5)


def address(shape: Shape) -> str:
    return (shape.written.secrets / "medsage_redis_url").read_text("utf-8")


@pytest.mark.redis
def test_redis_takes_a_new_password_beside_the_old_one_and_then_alone(redis: Shape) -> None:
    part, plan = redis.parts["redis"], redis.written
    old, pid = address(redis), part.pid
    with by(old) as who_is_there:
        who_is_there.set("session", "kept")
        folder = ["--folder", str(plan.folder)]
        made = CliRunner().invoke(app, ["secrets", "--new", "redis_password", *folder])
        assert made.stdout == "made medsage_redis_url anew\nmade redis_password anew\n"
        assert part.problem() is None
        new = address(redis)
        with pytest.raises(RedisError), by(new) as early:
            early.ping()
        redis_password.add(plan, part.port)
        for each in (old, new):
            with by(each) as client:
                assert client.get("session") == b"kept"
        assert redis_password.settle(plan, part.port) is True
        with by(new) as client:
            assert client.get("session") == b"kept"
        with pytest.raises(RedisError), by(old) as late:
            late.ping()
    assert (part.pid, part.problem()) == (pid, None)
    assert redis_password.settle(plan, part.port) is False
    # At its next start, too; what it held is in its file.
    part.kill()
    part.start(ROOT)
    with by(new) as client:
        assert client.get("session") == b"kept"
    with pytest.raises(RedisError), by(old) as late:
        late.ping()


@pytest.mark.redis
@pytest.mark.parametrize("broken_off", ["before it was written down", "by the end of Redis"])
def test_a_change_of_redis_password_that_was_broken_off_goes_on(
    broken_off: str, redis: Shape
) -> None:
    part, plan = redis.parts["redis"], redis.written
    secret_files.renew(plan.secrets, "redis_password")
    redis_password.add(plan, part.port)
    if broken_off == "by the end of Redis":
        part.kill()
        part.start(ROOT)
    else:
        with by(address(redis)) as client:
            password = (plan.secrets / "redis_password").read_text("utf-8")
            client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")
    assert part.problem() is None
    redis_password.add(plan, part.port)
    redis_password.settle(plan, part.port)
    assert part.problem() is None
    with by(address(redis)) as client:
        client.ping()


def test_a_password_that_is_not_ours_is_not_made_anew(tmp_path: Path) -> None:
    shape = planned(tmp_path, mongodb="mongodb://u:theirs@db/", redis="redis://:theirs@r/")
    folder = ["--folder", str(shape.written.folder)]
    for name in ("redis_password", "mongo_medsage_password"):
        done = CliRunner().invoke(app, ["secrets", "--new", name, *folder])
        assert (done.exit_code, "change the password where it is kept" in done.stderr) == (1, True)
        assert "theirs" not in done.stderr
