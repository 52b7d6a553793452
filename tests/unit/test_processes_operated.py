"""The shape of processes as it is operated: who keeps it up, the way out of a version that is not
well, and those who watch."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.beside import MAY
from deploy.processes import roles, running, supervisor, upgrade, verbs, versions
from deploy.processes.part import NotReady
from deploy.processes.running import Running, State
from deploy.processes.shape import Shape
from deploy.processes.verbs import app
from tests.availability import ROOT
from tests.small_shape import NEW, OLD, planned, said, small_shape, start, versions_of


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shape]:
    with small_shape(tmp_path, monkeypatch) as shape:
        yield shape


def test_a_supervisor_is_known_whoever_started_it(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    plan = shape.written
    folder = str(plan.folder)
    supervisor.start(plan)
    left = supervisor.keeper(plan)
    assert left is not None
    assert f"runs (pid {left.pid}, left by a verb)" in status(folder)
    eventually(lambda: "supervising" in supervisor.log(plan).read_text("utf-8"))
    # As systemd runs it.
    command = [sys.executable, "-m", "deploy.processes", "supervise", "--folder", folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as another:
        eventually(lambda: f"(pid {another.pid}, started by systemd" in status(folder))
        assert "ended; the parts go on" in supervisor.log(plan).read_text("utf-8")
        refused = CliRunner().invoke(app, ["cleanup", "--folder", folder])
        assert (refused.exit_code, "systemctl stop" in refused.stderr) == (1, True)
        # Nobody starts it again: so it is done here.
        supervisor.renew(plan, ROOT, seconds=0)
        assert another.wait(10) == 0
    assert "left by a verb" in status(folder)
    assert CliRunner().invoke(app, ["cleanup", "--folder", folder]).exit_code == 0
    assert supervisor.keeper(plan) is None


def status(folder: str) -> str:
    return CliRunner().invoke(app, ["status", "--folder", folder]).stdout.splitlines()[-1]


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_who_started_a_supervisor_has_time_to_start_the_next(
    small: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [supervisor.Keeper(1, False), None, supervisor.Keeper(2, False)]
    monkeypatch.setattr(supervisor, "keeper", lambda _: seen.pop(0) if len(seen) > 1 else seen[0])
    supervisor.renew(small.written, ROOT, seconds=10)
    assert not supervisor.log(small.written).exists()


@pytest.fixture
def upgraded(
    small: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """The verb `upgrade` to NEW, whose `medsage` fails at the named commands."""
    monkeypatch.setattr(Shape, "start", lambda _: None)
    monkeypatch.setattr(verbs, "_start_backing", lambda _: None)
    monkeypatch.setattr(supervisor, "start", lambda *_: None)
    monkeypatch.setattr(versions, "kept", lambda *_: tmp_path / NEW)

    def run(*options: str, fails: str = "none") -> tuple[int, str]:
        def medsage(*given: Any) -> int:
            return MAY if "deploy.beside" in given else int(fails in given[3])

        for module in (verbs, upgrade):
            monkeypatch.setattr(module, "medsage", medsage)
        folder = str(small.written.folder)
        done = CliRunner().invoke(app, ["upgrade", *options, "--folder", folder])
        return done.exit_code, done.stderr

    return run


def test_an_upgrade_leads_out_of_a_version_of_which_a_part_is_down(
    small: Shape, tmp_path: Path, upgraded: Callable[..., tuple[int, str]]
) -> None:
    assert "nothing runs; prod starts it" in upgraded()[1]
    start(small, tmp_path / OLD)
    small.parts["server-1"].kill()
    assert upgraded() == (0, "")
    assert versions_of(small) == {NEW}
    assert [part.pid for part in small.watching.values()] == [None, None]  # as before


@pytest.mark.parametrize(("fails", "option"), [("backup", "--no-backup"), ("check", "--no-check")])
def test_what_stops_an_upgrade_is_said_with_the_way_around_it(
    fails: str, option: str, small: Shape, tmp_path: Path,
    upgraded: Callable[..., tuple[int, str]],
) -> None:  # fmt: skip
    start(small, tmp_path / OLD)
    code, told = upgraded(fails=fails)
    assert (code, f"upgrade {option}" in told) == (1, True)
    assert versions_of(small) == {OLD}
    assert upgraded(option, fails=fails) == (0, "")
    assert versions_of(small) == {NEW}


def test_the_server_that_is_to_be_replaced_is_not_asked(
    small: Shape, tmp_path: Path, upgraded: Callable[..., tuple[int, str]]
) -> None:
    start(small, tmp_path / OLD)
    assert upgraded(fails="--no-server")[0] == 1


def test_those_who_watch_take_up_the_files_of_the_new_version(
    small: Shape, tmp_path: Path, upgraded: Callable[..., tuple[int, str]]
) -> None:
    start(small, tmp_path / OLD)
    small.code = tmp_path / OLD
    small.watch()
    assert upgraded() == (0, "")
    assert {said(part.port) for part in small.watching.values()} == {NEW}


def test_files_that_prometheus_refuses_are_said(
    small: Shape, tmp_path: Path, upgraded: Callable[..., tuple[int, str]]
) -> None:
    start(small, tmp_path / OLD)
    small.code = tmp_path / OLD
    small.watch()
    (tmp_path / NEW / "broken-prometheus").touch()
    code, told = upgraded()
    assert (code, "prometheus ended; its log ends with" in told) == (1, True)
    assert versions_of(small) == {NEW}


def test_nginx_is_led_on_with_the_files_of_a_version_that_is_not_known(tmp_path: Path) -> None:
    """As in an upgrade, until the new version's files take their place."""
    shape = planned(tmp_path)
    shape.reload_door(ROOT)
    own = shape.written.own("nginx")
    (own / "nginx.conf").write_text("# as another version wrote it\n")
    before = {name: (own / name).read_text() for name in ("upstreams.conf", "inner.conf")}
    app_1 = shape.written.slot("app-1").ports
    run(shape, "nginx", Running(0, "ended", 1, "/a/version/that/is/gone"))
    run(shape, "app-1", Running(0, "ended", app_1[1], "/any"))
    shape.reload_door()
    assert (own / "nginx.conf").read_text() == "# as another version wrote it\n"
    changed = before["upstreams.conf"].replace(f":{app_1[0]} max", f":{app_1[1]} max")
    assert (own / "upstreams.conf").read_text() == changed != before["upstreams.conf"]
    assert (own / "inner.conf").read_text() != before["inner.conf"]
    assert f'"{(own / "generation").read_text()}"' in (own / "inner.conf").read_text()


def test_files_of_nginx_that_do_not_fit_leave_those_before(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    shape.reload_door(ROOT)
    own = shape.written.own("nginx")
    (own / "nginx.conf").write_text("# as another version wrote it\n")
    strange = tmp_path / "deploy/nginx"
    strange.mkdir(parents=True)
    for name in ("nginx.conf", "upstreams.conf"):
        text = (ROOT / "deploy/nginx" / name).read_text("utf-8")
        (strange / name).write_text(text.replace("listen 8443", "listen 443"))
    with pytest.raises(NotReady, match=r"goes on as it was: .*has no listen 8443"):
        shape.reload_door(tmp_path)
    assert (own / "nginx.conf").read_text() == "# as another version wrote it\n"


def run(shape: Shape, name: str, found: Running) -> None:
    running.write(shape.written.folder / "run" / f"{name}.json", State(True, found))


def test_what_a_broken_off_replacement_has_left_ends(small: Shape, tmp_path: Path) -> None:
    part = small.parts["worker-1"]
    part.start(tmp_path / OLD)
    before = part.port

    def broken_off() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part.replace(tmp_path / NEW, broken_off)
    assert (said(before), said(part.port)) == (OLD, NEW)
    part.start(tmp_path / NEW)
    assert (said(before), said(part.port)) == ("", NEW)


@pytest.mark.parametrize("torn", ["", '{"is_wan', "[]"])
def test_what_a_machine_without_power_has_torn_is_found_out_anew(
    torn: str, small: Shape, tmp_path: Path
) -> None:
    lines: list[str] = []
    keeps = supervisor.Supervisor(small, lines.append)
    part = small.parts["worker-1"]
    small.parts["server-1"].start(tmp_path / OLD)
    part.start(tmp_path / OLD)
    part.replace(tmp_path / NEW, lambda: None)
    before = part.state
    assert before.running is not None
    file = small.written.folder / "run/worker-1.json"
    file.write_text(torn)
    assert part.pid == before.running.pid
    keeps.look()
    # Only what it was given is not known any more, so that the next `prod` replaces it.
    assert part.state == replace(before, running=replace(before.running, given=""))
    assert "worker-1: what was written of it could not be read, and is anew" in lines
    # As after a restart of the machine.
    part.kill()
    file.write_text(torn)
    keeps.look()
    part.wait()
    assert said(part.port) == OLD


def test_a_setting_that_reaches_no_part_is_told() -> None:
    given = ["MEDSAGE_PROFILE", "MEDSAGE_SECOND_FACTOR_ROLES", "MEDSAGE_MODELS_FOLDER", "PATH"]
    secret, address = "MEDSAGE_OPENID_PROVIDERS", "MEDSAGE_MONGODB_URI"
    told = roles.not_passed_on([*given, secret, address])
    assert told == ["MEDSAGE_MODELS_FOLDER", secret]
    assert [roles.is_secret(each) for each in told] == [False, True]
    assert roles.ENVIRONMENT["server"]["MEDSAGE_SECOND_FACTOR_ROLES"] == ""
