"""The production shape as processes: its plan, what each part is given, and how parts are started,
ended and replaced; small programs play the parts."""

import errno
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.beside import MAY, MUST_STOP, UNKNOWN, verdict
from deploy.processes import door, programs, roles, running, upgrade, versions, watching
from deploy.processes.part import NotReady
from deploy.processes.plan import NoShape, free_ports
from deploy.processes.programs import PROGRAMS, Program
from deploy.processes.reserve import GIVEN_UP, Reserve, watched
from deploy.processes.running import Running, State
from deploy.processes.shape import Shape, plan_development
from deploy.processes.supervisor import Patience, Supervisor, shorten
from deploy.processes.upgrade import WentBack, brought, moved
from deploy.processes.verbs import app
from tests.availability import ROOT
from tests.small_shape import NEW, OLD, planned, said, small_shape, start, versions_of

MEGABYTE = 1 << 20
HERE = {
    "MEDSAGE_BASE_URL",
    "MEDSAGE_SECRETS_DIR",
    "MEDSAGE_TRUSTED_PROXIES",
    "MEDSAGE_SERVER_URL",
    "MEDSAGE_WORKER_URL",
    "MEDSAGE_BACKUP_TARGET",
    "MEDSAGE_ISSUERS",
}
"""What has another value outside containers."""


def compose(role: str) -> dict[str, Any]:
    path, service = ("docker-compose.yml", role)
    if role == "all":
        path, service = ("deploy/docker/compose.dev.yml", "medsage")
    found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text("utf-8"))["services"][service]
    return found


@pytest.mark.parametrize("role", roles.ENVIRONMENT)
def test_each_role_is_given_what_compose_gives_it(role: str) -> None:
    service = compose(role)
    assert set(roles.ENVIRONMENT[role]) == set(service["environment"])
    assert list(roles.SECRETS[role]) == service.get("secrets", [])
    for name, value in service["environment"].items():
        from_outside = re.fullmatch(r"\$\{(\w+):[-?](.*)\}", value)
        ours = roles.ENVIRONMENT[role][name].replace("{secrets}", "/run/secrets")
        if name not in HERE:
            assert ours == (from_outside[2] if from_outside else value), name
        assert (name in roles.GIVEN) == bool(from_outside and name != "MEDSAGE_BASE_URL"), name


def test_a_plan_names_its_parts_in_the_order_of_their_start(tmp_path: Path) -> None:
    shape = planned(tmp_path, servers=2, workers=1)
    names = ["redis", "mongodb", "server-1", "server-2", "nginx", "worker-1", "app-1", "app-2"]
    assert list(shape.parts) == names
    assert shape.base_url == "https://localhost:8443"
    ports = [port for part in shape.all_parts for port in part.slot.ports]
    assert len(set(ports)) == len(ports)
    assert Shape.open(tmp_path / "shape").written == shape.written


def test_addresses_with_passwords_lie_in_secret_files_alone(tmp_path: Path) -> None:
    shape = planned(tmp_path, mongodb="mongodb://u:pass-1@db/", redis="redis://:pass-2@r:6379/0")
    assert "mongodb" not in shape.parts
    assert "redis" not in shape.parts
    folder = shape.written.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "pass-" not in (folder / "shape.json").read_text("utf-8")
    assert (shape.written.secrets / "medsage_mongodb_uri").read_text() == "mongodb://u:pass-1@db/"


def test_a_part_may_read_the_secrets_of_its_role_and_no_others(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    stale = shape.written.own("app-1") / "secrets" / "backup_key"
    stale.parent.mkdir(parents=True)
    stale.touch()
    roles.give_secrets(shape.written, "app-1")
    given = {file.name for file in stale.parent.iterdir()}
    assert given == {"medsage_redis_url", "medsage_secret_key", "medsage_app_key"}


def test_a_roles_environment_holds_the_operators_settings_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAGE_OPEN_ACCESS", "true")
    settings = {"MEDSAGE_LOG_LEVEL": "debug", "MEDSAGE_BACKUP_MINUTES": "5"}
    shape = planned(tmp_path, settings=settings)
    given = {
        name: programs.environment(shape.written, part.slot, ROOT)
        for name, part in shape.parts.items()
    }
    assert "MEDSAGE_OPEN_ACCESS" not in given["server-1"]
    assert given["server-1"]["MEDSAGE_LOG_LEVEL"] == "debug"
    # A setting that Compose gives another role alone stays with that one.
    assert "MEDSAGE_BACKUP_MINUTES" not in given["server-1"]
    assert given["worker-1"]["MEDSAGE_BACKUP_MINUTES"] == "5"
    inner = f"http://127.0.0.1:{shape.written.door('server')}"
    assert given["worker-2"]["MEDSAGE_SERVER_URL"] == given["app-1"]["MEDSAGE_SERVER_URL"] == inner
    assert not [name for name in given["redis"] if name.startswith("MEDSAGE_")]


def test_a_folder_holds_one_shape_and_a_shape_has_a_server_and_a_worker(tmp_path: Path) -> None:
    with pytest.raises(NoShape, match="one server"):
        planned(tmp_path, servers=0)
    with pytest.raises(NoShape, match="one app"):
        planned(tmp_path, apps=0)
    planned(tmp_path)
    with pytest.raises(NoShape, match="holds a shape already"):
        planned(tmp_path)
    with pytest.raises(NoShape, match="holds a shape already"):
        plan_development(tmp_path / "shape", 5000)


def test_a_shape_is_not_planned_among_what_belongs_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "shape"
    (folder / "secrets/tls").mkdir(parents=True)
    (folder / "letter.txt").touch()
    mode = folder.stat().st_mode
    for plans in (planned, lambda _: plan_development(folder, 5000)):
        with pytest.raises(NoShape, match=r"holds letter\.txt"):
            plans(tmp_path)
    assert folder.stat().st_mode == mode
    (folder / "letter.txt").unlink()
    planned(tmp_path)


def test_a_public_name_needs_a_certificate_that_the_operator_brings(tmp_path: Path) -> None:
    shape = planned(tmp_path, settings={"MEDSAGE_BASE_URL": "https://medsage.example.org"})
    with pytest.raises(NoShape, match=r"tls\.crt"):
        shape.start()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shape]:
    with small_shape(tmp_path, monkeypatch) as shape:
        yield shape


def test_a_part_is_taken_up_by_another_process(small: Shape, tmp_path: Path) -> None:
    small.parts["server-1"].start(tmp_path / OLD)
    seen = Shape.open(small.written.folder).parts["server-1"]
    assert seen.pid == small.parts["server-1"].pid
    assert seen.problem() is None
    seen.stop()
    assert small.parts["server-1"].pid is None
    assert small.parts["server-1"].problem() == "does not run"


def test_who_was_killed_is_revived_and_who_was_stopped_is_not(small: Shape, tmp_path: Path) -> None:
    part = small.parts["server-1"]
    part.start(tmp_path / OLD)
    assert not part.revive()
    part.kill()
    assert part.pid is None
    assert part.revive()
    part.wait()
    assert said(part.port) == OLD
    part.stop()
    assert not part.revive()


def test_what_does_not_end_when_asked_is_killed(small: Shape, tmp_path: Path) -> None:
    part = small.parts["server-1"]
    part.start(tmp_path / OLD)
    part.stop(signal.SIGCONT)
    assert part.pid is None


def test_what_a_dead_process_has_started_ends_with_its_part(
    small: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the workers of an nginx whose master was killed, which keep its ports."""
    part = small.parts["server-1"]
    up = small.written.own(part.name) / "up"
    command = ["sh", "-c", "sleep 60 & touch up; exec sleep 60"]
    program = Program(lambda *_: command, lambda *_: None if up.exists() else "", stop_seconds=1)
    monkeypatch.setitem(PROGRAMS, "server", program)
    part.start()
    pid = part.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while part.pid is not None:
        pass
    assert is_group(pid)
    part.stop()
    end = time.monotonic() + 5
    while is_group(pid):
        assert time.monotonic() < end


def is_group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_who_still_has_a_thread_and_with_it_a_port_has_not_ended(tmp_path: Path) -> None:
    """After a kill the first thread of Redis ends before those beside it: who started it again
    at once found the port taken."""
    program = (
        "import ctypes, threading, time, os;"
        "threading.Thread(target=time.sleep, args=(60,)).start();"
        f"ctypes.CDLL(None).syscall({60 if os.uname().machine == 'x86_64' else 93}, 0)"
    )
    child, began = running.launched(
        [sys.executable, "-c", program], {}, tmp_path, tmp_path / "its.log"
    )
    found = Running(child.pid, began, 0, "")
    stat = Path(f"/proc/{child.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")
    assert found.is_alive
    found.kill()
    assert found.ended(5)
    child.wait()


def test_a_number_that_another_process_has_now_is_nobody() -> None:
    assert not Running(1, "another boot 1", 80, "").is_alive
    assert not Running(2**22 + 1, "", 80, "").is_alive


def test_a_part_that_does_not_start_says_how_its_log_ends(small: Shape, tmp_path: Path) -> None:
    (tmp_path / NEW / "broken-worker").touch()
    with pytest.raises(NotReady, match=r"worker-1 ended(.|\n)*this version is broken"):
        small.parts["worker-1"].start(tmp_path / NEW)


def test_a_replacement_serves_before_the_one_before_ends(small: Shape, tmp_path: Path) -> None:
    part = small.parts["app-1"]
    part.start(tmp_path / OLD)
    before = part.port
    seen: list[str] = []
    part.replace(tmp_path / NEW, lambda: seen.extend((said(before), said(part.port))))
    assert seen == [OLD, NEW]
    assert part.port != before
    assert not said(before)


def test_an_upgrade_moves_every_part_once(small: Shape, tmp_path: Path) -> None:
    start(small, tmp_path / OLD)
    told: list[str] = []
    moved(small, tmp_path / NEW, told.append)
    assert versions_of(small) == {NEW}
    moved(small, tmp_path / NEW, told.append)
    assert told == [f"{part.name} runs the new version" for part in small.replaceable]


def test_an_upgrade_goes_back_when_a_part_does_not_get_ready_and_says_which(
    small: Shape, tmp_path: Path
) -> None:
    start(small, tmp_path / OLD)
    (tmp_path / NEW / "broken-worker").touch()
    with pytest.raises(WentBack, match="worker-1 ended"):
        moved(small, tmp_path / NEW, lambda _: None)
    assert versions_of(small) == {OLD}
    assert all(part.problem() is None for part in small.replaceable)


@pytest.mark.parametrize(
    ("found", "oldest", "expected"),
    [(None, 2, MAY), (1, 1, MAY), (2, 1, MAY), (2, 2, MAY), (1, 2, MUST_STOP)],
)
def test_which_versions_may_run_beside_each_other(
    found: int | None, oldest: int, expected: int
) -> None:
    assert verdict(found, oldest) == expected


@pytest.mark.parametrize(
    ("beside", "running"),
    # 1 is what Python ends with when the question itself failed.
    [(MAY, {OLD}), (MUST_STOP, {""}), (UNKNOWN, {OLD}), (1, {OLD}), (-9, {OLD})],
)
def test_who_can_not_use_the_store_afterwards_stops_before_it_is_brought_forward(
    beside: int, running: set[str], small: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(small, tmp_path / OLD)
    monkeypatch.setattr(Shape, "start", lambda shape: start(shape, shape.code))
    seen: list[set[str]] = []

    def medsage(*given: Any) -> int:
        if given[-1] == "deploy.beside":
            return beside
        seen.append(versions_of(small))
        return 0

    monkeypatch.setattr(upgrade, "medsage", medsage)
    if beside not in (MAY, MUST_STOP):
        with pytest.raises(WentBack, match="nothing was replaced"):
            brought(small, tmp_path / NEW, lambda _: None)
        assert (seen, versions_of(small)) == ([], running)
        return
    brought(small, tmp_path / NEW, lambda _: None)
    assert (seen, versions_of(small)) == ([running], {NEW})


@pytest.mark.parametrize(
    ("beside", "left"),
    [(MAY, "nothing was replaced"), (MUST_STOP, "what was stopped stays so")],
)
def test_a_migration_that_fails_says_what_still_runs(
    beside: int, left: str, small: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(small, tmp_path / OLD)
    monkeypatch.setattr(
        upgrade, "medsage", lambda *given: beside if given[-1] == "deploy.beside" else 1
    )
    with pytest.raises(WentBack, match=left):
        brought(small, tmp_path / NEW, lambda _: None)
    assert versions_of(small) == ({OLD} if beside == MAY else {""})


def test_the_supervisor_outlives_a_full_disk(
    small: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, told = small.parts["server-1"], list[str]()
    part.start(tmp_path / OLD)
    supervisor = Supervisor(small, told.append)
    part.kill()
    with monkeypatch.context() as full:
        full.setattr(running, "write", no_room)
        supervisor.look()
        supervisor.look()
    assert told == ["server-1: [Errno 28] No space left on device"]
    supervisor.look()
    # Had the one that could not be written down lived on, it would hold the port.
    part.wait()
    assert said(part.port) == OLD


@dataclass
class Disk:
    """What `shutil.disk_usage` says of a disk of this size."""

    total: int = 4096 * MEGABYTE
    free: int = 3000 * MEGABYTE

    def __call__(self, folder: Path) -> "Disk":
        return self


def test_a_full_disk_gets_the_room_that_was_kept_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, reserve = Disk(), Reserve(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", disk)
    assert not reserve.look()
    kept = reserve.file.stat()
    assert kept.st_blocks * 512 >= kept.st_size == 256 * MEGABYTE
    disk.free = 64 * MEGABYTE
    assert (reserve.look(), reserve.file.exists()) == (False, True)
    disk.free -= 1
    assert (reserve.look(), reserve.file.exists()) == (True, False)
    disk.free = 768 * MEGABYTE
    assert (reserve.look(), reserve.file.exists()) == (False, False), "not taken back at once"
    disk.free += 1
    assert (reserve.look(), reserve.file.exists()) == (False, True)


def test_room_is_given_up_while_it_is_watched_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, told = Disk(), list[str]()
    monkeypatch.setattr(shutil, "disk_usage", disk)
    with watched(tmp_path, told.append):
        until(Reserve(tmp_path).file.exists)
        disk.free = 0
        until(lambda: bool(told))
    assert told == [GIVEN_UP]
    assert not Reserve(tmp_path).file.exists()


def until(is_so: Callable[[], bool]) -> None:
    """Return when it is; fail when it is not within some seconds."""
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_small_disk_keeps_back_a_sixteenth_and_nothing_of_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Reserve(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", Disk(64 * MEGABYTE, 60 * MEGABYTE))
    assert not reserve.look()
    assert reserve.file.stat().st_size == 4 * MEGABYTE
    reserve.file.unlink()
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", no_room_for_it)
        with pytest.raises(OSError, match="No space left"):
            reserve.look()
    assert not reserve.file.exists()


def no_room_for_it(handle: int, begin: int, size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_room(file: Path, state: State) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_deaths_in_a_row_are_answered_more_and_more_slowly() -> None:
    now = [0.0]
    patience = Patience(lambda: now[0])
    waits = []
    for _ in range(8):
        assert patience.is_over()
        waits.append(patience.started())
        assert not patience.is_over()
        now[0] += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    now[0] += 61
    assert patience.started() == 1


def test_a_long_log_goes_on_empty_and_some_pieces_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "server-1.log"
    with log.open("a") as writer:
        for text in ("one", "two", "three"):
            writer.write(text)
            writer.flush()
            shorten(log, most=4, files=2)
    assert log.read_text() == ""
    assert (tmp_path / "server-1.log.1").read_text() == "three"
    assert not (tmp_path / "server-1.log.2").exists()


def test_a_replacement_that_nginx_does_not_take_up_leaves_things_as_they_were(
    small: Shape, tmp_path: Path
) -> None:
    part = small.parts["app-1"]
    part.start(tmp_path / OLD)
    seen: list[int] = []

    def refused() -> None:
        seen.append(part.port)
        raise NotReady("nginx refuses its configuration")

    before = part.port
    with pytest.raises(NotReady, match="nginx refuses"):
        part.replace(tmp_path / NEW, refused)
    assert seen == [part.slot.ports[1], before]
    assert said(part.port) == OLD
    assert not said(seen[0])


@pytest.mark.parametrize("url", ["http://medsage.test", "medsage.test"])
def test_production_without_https_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAGE_BASE_URL", url)
    done = CliRunner().invoke(app, ["prod", "--folder", str(tmp_path / "shape")])
    assert (done.exit_code, f"and is {url}" in done.stderr) == (1, True)
    assert not (tmp_path / "shape").exists()


def test_a_shape_is_not_another_one_for_being_asked_to(tmp_path: Path) -> None:
    folder = str(planned(tmp_path, servers=2).written.folder)
    done = CliRunner().invoke(app, ["prod", "--servers", "3", "--folder", folder])
    assert (done.exit_code, "has --servers 2; cleanup" in done.stderr) == (1, True)
    done = CliRunner().invoke(app, ["prod", "--apps", "1", "--folder", folder])
    assert (done.exit_code, "has --apps 2; cleanup" in done.stderr) == (1, True)


def test_two_verbs_do_not_change_a_shape_at_once(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    folder = shape.written.folder
    with running.locked(folder / "verb.lock"):
        done = CliRunner().invoke(app, ["cleanup", "--folder", str(folder)])
    assert (done.exit_code, "another verb is at work" in done.stderr) == (1, True)


def test_code_is_kept_by_its_content_without_secrets(tmp_path: Path) -> None:
    root, kept = tmp_path / "checkout", tmp_path / "versions"
    for package in versions.PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "code.py").write_text("one = 1\n")
    (root / "deploy/secrets").mkdir()
    (root / "deploy/secrets/key").write_text("secret")
    first = versions.kept(root, kept)
    assert (first / "models/code.py").read_text() == "one = 1\n"
    assert not (first / "deploy/secrets").exists()
    (root / "deploy/secrets/key").write_text("another")
    assert versions.kept(root, kept) == first
    (root / "models/code.py").write_text("one = 2\n")
    second = versions.kept(root, kept)
    assert (first / "models/code.py").read_text() == "one = 1\n"
    versions.prune(kept, {second})
    assert list(kept.iterdir()) == [second]


def test_the_shipped_nginx_file_is_refused_when_it_is_not_as_known(tmp_path: Path) -> None:
    folder = tmp_path / "deploy/nginx"
    folder.mkdir(parents=True)
    for name in ("nginx.conf", "upstreams.conf"):
        text = (ROOT / "deploy/nginx" / name).read_text("utf-8")
        (folder / name).write_text(text.replace("listen 8443", "listen 443"))
    doors = dict.fromkeys(("tls", "plain", "alive", "server", "worker"), 1)
    ports = {"server": [1], "worker": [1], "app": [1]}
    with pytest.raises(door.Unexpected, match="listen 8443"):
        door.write(tmp_path, tmp_path / "out", tmp_path, doors, ports)


@pytest.mark.prometheus
def test_prometheus_and_alertmanager_are_pointed_at_the_parts(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    watching.write_targets(shape.written, {"server": [1, 2], "worker": [3], "app": [4]})
    watching.prometheus(shape.written, 5, ROOT)
    own = shape.written.own("prometheus")
    subprocess.run(["promtool", "check", "config", own / "prometheus.yml"], check=True)
    written = yaml.safe_load((own / "prometheus.yml").read_text("utf-8"))
    files = [
        json.loads(Path(job["file_sd_configs"][0]["files"][0]).read_text("utf-8"))
        for job in written["scrape_configs"]
        if "file_sd_configs" in job
    ]
    assert files[0] == [{"targets": ["127.0.0.1:1", "127.0.0.1:2"]}]
    assert len(files) == 3
    assert ":9093" not in (own / "prometheus.yml").read_text("utf-8")


def test_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports()
    with socket.create_server(("127.0.0.1", next(ports))) as taken:
        others = [next(free_ports()) for _ in range(3)]
        assert taken.getsockname()[1] not in others
    assert all(20_000 <= port < 32_768 for port in others)


@pytest.mark.parametrize("verb", ["status", "logs", "upgrade", "monitor", "backup", "cleanup"])
def test_verbs_without_a_shape_say_how_to_get_one(verb: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [verb, "--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert f"there is no shape in {tmp_path}" in done.stderr


def test_the_status_of_what_was_not_started_is_stopped(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    done = CliRunner().invoke(app, ["status", "--folder", str(shape.written.folder)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.endswith("stopped")]) == len(shape.all_parts)
    assert "The supervisor does not run" in lines[-1]
