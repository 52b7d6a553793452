"""`deploy.sh` with a stand-in for docker that writes down what it is asked."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/sh
echo "[$MEDSAGE_BASE_URL] $*" >>"$ASKED"
case "$*" in
*"ps --quiet nginx") [ -z "$RUNNING" ] && ! grep -q " up " "$ASKED" || echo id ;;
*"ps --quiet"*) echo id ;;
*"docker-compose.yml ps -q"*) [ -z "$RUNNING" ] || echo id ;;
*"ps --all -q mongo-1") [ -z "$STORED" ] || echo id ;;
*"ps --all -q worker") [ -z "$RUNNING" ] || printf '%s\\n' ${WORKERS:-id} ;;
*"ps --all -q"*) [ -z "$RUNNING" ] || echo id ;;
*"exec -T worker medsage backup"*) [ -z "$SICK" ] ;;
*"worker backup create") [ -z "$UNSAVED" ] ;;
*"worker check --no-server") [ -z "$UNFIT" ] ;;
*"worker migrate") [ -z "$STUCK" ] ;;
*"up --detach --no-deps $UNMADE") [ -z "$UNMADE" ] || { grep -q " tag " "$ASKED"; } ;;
*" -m deploy.beside") exit "${BESIDE:-0}" ;;
*"nginx.conf -t -q") [ -z "$REFUSED" ] ;;
*" pgrep "*)
    if [ -z "$STIFF" ] && grep -q " -s reload" "$ASKED"; then echo 2; else echo 1; fi ;;
*" check-config "*) [ -z "$UNWATCHED" ] ;;
*.Image*) echo image-before ;;
*" config") echo "name: medsage" ;;
"volume ls "*=redis) echo medsage_redis ;;
"volume ls "*=mongo-1) echo medsage_mongo-1 ;;
inspect*) echo "${HEALTH:-healthy}" ;;
esac
"""


@dataclass
class Checkout:
    """A copy of what the script needs, and the stand-in's notes."""

    folder: Path

    def run(
        self, *arguments: str, answer: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "DOCKER": str(self.folder / "docker"),
            "ASKED": str(self.folder / "asked"),
            "RUNNING": "",
            **variables,
        }
        return subprocess.run(
            ["./deploy.sh", *arguments],
            cwd=self.folder,
            env=environment,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> str:
        return (self.folder / "asked").read_text("utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    shutil.copy(ROOT / "deploy.sh", tmp_path)
    (tmp_path / "docker").write_text(STAND_IN)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "asked").touch()
    # The secrets are made by the project's own Python, which a copy has not got.
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho made-by-python "$@"\n')
    python.chmod(0o755)
    return Checkout(tmp_path)


def with_certificate(checkout: Checkout) -> None:
    folder = checkout.folder / "deploy/secrets/tls"
    folder.mkdir(parents=True)
    for name in ("tls.crt", "tls.key"):
        (folder / name).touch()


def test_production_is_built_and_started_under_the_public_address(checkout: Checkout) -> None:
    with_certificate(checkout)
    done = checkout.run("prod", MEDSAGE_BASE_URL="https://medsage.test")
    assert done.returncode == 0, done.stderr
    assert "made-by-python" in done.stdout
    assert "MedSAGE answers at https://medsage.test" in done.stdout
    asked = checkout.asked()
    assert "[https://medsage.test] compose -f docker-compose.yml up --detach" in asked
    assert asked.index(" build") < asked.index(" up ")


def test_the_address_may_stand_in_the_env_file(checkout: Checkout) -> None:
    with_certificate(checkout)
    (checkout.folder / ".env").write_text('MEDSAGE_BASE_URL="https://from.file"\n')
    assert "https://from.file" in checkout.run("prod").stdout


@pytest.mark.parametrize("url", ["", "http://medsage.test"])
def test_production_without_https_is_refused(checkout: Checkout, url: str) -> None:
    done = checkout.run("prod", MEDSAGE_BASE_URL=url)
    assert done.returncode == 1
    assert "MEDSAGE_BASE_URL" in done.stderr
    assert " up " not in checkout.asked()


def test_production_without_a_certificate_is_refused_and_says_how_to_get_one(
    checkout: Checkout,
) -> None:
    done = checkout.run("prod", MEDSAGE_BASE_URL="https://medsage.test")
    assert done.returncode == 1
    assert "self_signed.sh" in done.stderr
    assert " up " not in checkout.asked()


def test_an_authority_is_asked_through_an_nginx_with_a_certificate_of_its_own(
    checkout: Checkout,
) -> None:
    (checkout.folder / "deploy/nginx").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/nginx/self_signed.sh", checkout.folder / "deploy/nginx")
    env = checkout.folder / ".env"
    env.write_text("MEDSAGE_BASE_URL=https://medsage.test:8443/\nCOMPOSE_PROFILES=x,acme\n")
    refused = checkout.run("prod")
    assert "ACME_EMAIL" in refused.stderr
    assert " up " not in checkout.asked()
    done = checkout.run("prod", ACME_EMAIL="op@medsage.test")
    assert done.returncode == 0, done.stderr
    folder = checkout.folder / "deploy/secrets/tls"
    assert "A certificate for medsage.test," in done.stdout
    assert (folder / "tls.key").is_file()
    assert (folder.parent.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o700, 0o777)
    assert " up " in checkout.asked()


def test_verbs_that_look_take_the_shape_that_runs(checkout: Checkout) -> None:
    assert checkout.run("status").returncode == 0
    assert checkout.asked().splitlines()[-1].endswith("deploy/docker/compose.dev.yml ps")
    assert checkout.run("logs", "worker", RUNNING="yes").returncode == 0
    last = checkout.asked().splitlines()[-1]
    assert last.endswith("docker-compose.yml logs --tail 200 --follow worker")


def test_data_is_removed_only_after_the_word(checkout: Checkout) -> None:
    refused = checkout.run("cleanup", "--all", answer="yes\n", RUNNING="yes")
    assert refused.returncode == 1
    assert "nothing was removed" in refused.stderr
    assert " down " not in checkout.asked()
    assert checkout.run("cleanup", "--all", answer="REMOVE\n", RUNNING="yes").returncode == 0
    assert checkout.asked().splitlines()[-1].endswith("down --remove-orphans --volumes")


def test_an_installation_is_emptied_for_a_restore_which_keeps_the_backups(
    checkout: Checkout,
) -> None:
    refused = checkout.run("cleanup", "--data", answer="\n")
    assert (refused.returncode, "but not its backups" in refused.stderr) == (1, True)
    done = checkout.run("cleanup", "--data", answer="REMOVE\n")
    assert done.returncode == 0, done.stderr
    asked = checkout.asked()
    assert "[https://localhost] compose -f docker-compose.yml down --remove-orphans\n" in asked
    assert "--volumes" not in asked
    removed = [line for line in asked.splitlines() if "volume rm" in line]
    assert [line.split()[-1] for line in removed] == ["medsage_mongo-1", "medsage_redis"]
    assert "label=com.docker.compose.project=medsage" in asked


def test_cleanup_alone_keeps_the_data(checkout: Checkout) -> None:
    assert checkout.run("cleanup", RUNNING="yes").returncode == 0
    assert "--volumes" not in checkout.asked()


def test_backups_are_made_and_looked_at_by_the_worker(checkout: Checkout) -> None:
    assert checkout.run("backup", RUNNING="yes").returncode == 0
    assert checkout.asked().splitlines()[-1].endswith("exec -T worker medsage backup create")
    assert checkout.run("backup", "drill", "--json", RUNNING="yes").returncode == 0
    assert checkout.asked().splitlines()[-1].endswith("worker medsage backup drill --json")


def test_a_restore_fills_an_empty_installation_and_no_other(checkout: Checkout) -> None:
    refused = checkout.run("restore", RUNNING="yes")
    assert refused.returncode == 1
    assert "an empty installation" in refused.stderr
    assert " run " not in checkout.asked()
    done = checkout.run("restore", "--at", "2026-11-26T08:00:00Z")
    assert done.returncode == 0, done.stderr
    last = checkout.asked().splitlines()[-1]
    assert last.endswith("worker backup restore --data /data/restored --at 2026-11-26T08:00:00Z")


def test_production_saves_what_is_there_before_it_changes_anything(checkout: Checkout) -> None:
    with_certificate(checkout)
    url = {"MEDSAGE_BASE_URL": "https://medsage.test"}
    assert checkout.run("prod", "backup", **url).returncode == 0
    assert "backup create" not in checkout.asked()  # a first start has nothing to save
    for stored in ({"RUNNING": "yes"}, {"STORED": "yes"}):
        (checkout.folder / "asked").write_text("")
        assert checkout.run("prod", "backup", **url, **stored).returncode == 0
        asked = checkout.asked()
        assert asked.index("worker") < asked.index("backup create") < asked.index(" build")
    assert "prod knows backup only" in checkout.run("prod", "bakcup", **url).stderr


def test_an_upgrade_saves_builds_looks_and_goes_role_by_role(checkout: Checkout) -> None:
    refused = checkout.run("upgrade")
    assert (refused.returncode, "nothing runs" in refused.stderr) == (1, True)
    done = checkout.run("upgrade", RUNNING="yes")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "upgraded"), done.stderr
    assert "made-by-python" in done.stdout, "a later version may know of another secret file"
    asked = checkout.asked()
    looks = ("backup create", " build", "worker check", "-m deploy.beside", "worker migrate")
    steps = (*looks, *ups("server", "worker", "app", "nginx"))
    places = [asked.index(step) for step in steps]
    assert places == sorted(places)
    assert " tag " not in asked
    assert " stop " not in asked


def test_an_upgrade_lets_nginx_and_those_who_watch_take_up_their_files(checkout: Checkout) -> None:
    assert checkout.run("upgrade", RUNNING="yes").returncode == 0
    asked = checkout.asked()
    anew = "up --detach --no-deps --force-recreate prometheus alertmanager grafana"
    steps = ("up --detach --no-deps nginx", "nginx.conf -t -q", " -s reload", "check config", anew)
    assert [asked.index(step) for step in steps] == sorted(asked.index(step) for step in steps)
    assert "restart nginx" not in asked


def test_what_nginx_takes_up_at_a_start_alone_makes_it_start_again(checkout: Checkout) -> None:
    assert checkout.run("upgrade", RUNNING="yes", STIFF="yes", WAIT_SECONDS="0").returncode == 0
    asked = checkout.asked()
    assert asked.index(" -s reload") < asked.index("restart nginx")


def test_files_that_are_refused_are_said_and_left(checkout: Checkout) -> None:
    door = checkout.run("upgrade", RUNNING="yes", REFUSED="yes")
    assert (door.returncode, "nginx refuses its configuration" in door.stderr) == (1, True)
    assert " -s reload" not in checkout.asked()
    watching = checkout.run("upgrade", RUNNING="yes", UNWATCHED="yes")
    assert (watching.returncode, "refuses its files" in watching.stderr) == (1, True)
    assert "force-recreate" not in checkout.asked()


def test_an_upgrade_leads_out_of_a_worker_that_does_not_run(checkout: Checkout) -> None:
    done = checkout.run("upgrade", RUNNING="yes", SICK="yes")
    assert done.returncode == 0, done.stderr
    assert "run --rm --no-deps -T worker backup create" in checkout.asked()


@pytest.mark.parametrize(("state", "option"), [("UNSAVED", "--no-backup"), ("UNFIT", "--no-check")])
def test_what_stops_an_upgrade_is_said_with_the_way_around_it(
    checkout: Checkout, state: str, option: str
) -> None:
    broken = {"RUNNING": "yes", "SICK": "yes", state: "yes"}
    stopped = checkout.run("upgrade", **broken)
    assert (stopped.returncode, f"upgrade {option}" in stopped.stderr) == (1, True)
    assert " up " not in checkout.asked()
    (checkout.folder / "asked").write_text("")
    assert checkout.run("upgrade", option, **broken).returncode == 0
    assert "deploy.beside" in checkout.asked()
    assert "--no-backup and --no-check" in checkout.run("upgrade", "--all", **broken).stderr


@pytest.mark.parametrize("verb", ["upgrade", "prod"])
def test_there_are_as_many_workers_afterwards_as_before(checkout: Checkout, verb: str) -> None:
    with_certificate(checkout)
    url = {"MEDSAGE_BASE_URL": "https://medsage.test"}
    assert checkout.run(verb, RUNNING="yes", WORKERS="a b", **url).returncode == 0
    started = [each for each in checkout.asked().splitlines() if "up --detach" in each]
    assert [each for each in started if "--scale worker=2" in each]
    assert not [each for each in started if "--scale server" in each]


def test_an_upgrade_that_does_not_fit_changes_nothing(checkout: Checkout) -> None:
    refused = checkout.run("upgrade", RUNNING="yes", UNFIT="yes")
    assert refused.returncode == 1
    assert " up " not in checkout.asked()
    assert "tag image-before medsage-server:0.1.0" in checkout.asked()


def test_an_upgrade_goes_back_when_a_role_does_not_get_healthy(checkout: Checkout) -> None:
    failed = checkout.run("upgrade", RUNNING="yes", HEALTH="starting", WAIT_SECONDS="0")
    assert failed.returncode == 1
    assert "server is not healthy" in failed.stderr
    assert "the old version runs again" in failed.stderr
    tagged = checkout.asked().partition(" tag ")[2]
    assert all(up in tagged for up in ups("server", "worker", "app"))


def test_production_over_what_runs_asks_whether_old_and_new_may_meet(checkout: Checkout) -> None:
    with_certificate(checkout)
    given = {"MEDSAGE_BASE_URL": "https://medsage.test", "RUNNING": "yes"}
    assert checkout.run("prod", **given).returncode == 0
    asked = checkout.asked()
    assert asked.index(" build") < asked.index("deploy.beside") < asked.index("up --detach\n")
    assert " stop " not in asked
    assert asked.index("up --detach\n") < asked.index(" -s reload") < asked.index("force-recreate")
    (checkout.folder / "asked").write_text("")
    assert checkout.run("prod", BESIDE="10", **given).returncode == 0
    asked = checkout.asked()
    assert asked.index("stop app worker server") < asked.index("up --detach\n")
    (checkout.folder / "asked").write_text("")
    unknown = checkout.run("prod", BESIDE="2", **given)
    assert (unknown.returncode, "nothing was changed" in unknown.stderr) == (1, True)
    assert "up --detach\n" not in checkout.asked()
    assert "tag image-before medsage-server:0.1.0" in checkout.asked()


def test_a_first_start_asks_nobody(checkout: Checkout) -> None:
    with_certificate(checkout)
    assert checkout.run("prod", MEDSAGE_BASE_URL="https://medsage.test").returncode == 0
    assert "deploy.beside" not in checkout.asked()
    assert " -s reload" not in checkout.asked()


def test_an_upgrade_stops_what_could_not_use_the_store_afterwards(checkout: Checkout) -> None:
    assert checkout.run("upgrade", RUNNING="yes", BESIDE="10").returncode == 0
    asked = checkout.asked()
    assert asked.index("stop app worker server") < asked.index("worker migrate")
    (checkout.folder / "asked").write_text("")
    failed = checkout.run("upgrade", RUNNING="yes", BESIDE="10", HEALTH="x", WAIT_SECONDS="0")
    assert "restore the backup" in failed.stderr
    assert " tag " not in checkout.asked()
    (checkout.folder / "asked").write_text("")
    stopped = checkout.run("upgrade", RUNNING="yes", BESIDE="10", STUCK="yes")
    assert (stopped.returncode, "were stopped" in stopped.stderr) == (1, True)
    assert " tag " not in checkout.asked()


@pytest.mark.parametrize("status", ["1", "2", "125"])
def test_an_upgrade_stops_nothing_when_it_could_not_ask(status: str, checkout: Checkout) -> None:
    unknown = checkout.run("upgrade", RUNNING="yes", BESIDE=status)
    assert (unknown.returncode, "nothing was changed" in unknown.stderr) == (1, True)
    assert " stop " not in checkout.asked()


def test_an_upgrade_goes_back_when_a_container_can_not_be_made(checkout: Checkout) -> None:
    failed = checkout.run("upgrade", RUNNING="yes", UNMADE="worker")
    assert "the old version runs again" in failed.stderr
    assert " tag " in checkout.asked()


def ups(*roles: str) -> list[str]:
    return [f"up --detach --no-deps {role}" for role in roles]


def test_a_password_is_made_anew_in_the_folder_of_secrets(checkout: Checkout) -> None:
    done = checkout.run("secrets", "--new", "redis_password")
    words = "-m deploy.secret_files deploy/secrets --new redis_password"
    assert (done.returncode, done.stdout) == (0, f"made-by-python {words}\n")
    assert checkout.asked() == ""


def test_with_processes_another_program_gets_the_verb(checkout: Checkout) -> None:
    python = checkout.folder / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "[$PYTHONPATH] $*"\n')
    done = checkout.run("--processes", "prod", "backup", "--port", "9443")
    told = f"[{checkout.folder}] -m deploy.processes prod backup --port 9443\n"
    assert (done.returncode, done.stdout) == (0, told)
    python.unlink()
    assert "quickstart.sh setup" in checkout.run("--processes", "status").stderr
    assert not checkout.asked()


def test_an_unknown_verb_is_refused_with_the_list(checkout: Checkout) -> None:
    done = checkout.run("fly")
    assert done.returncode == 1
    assert "unknown command: fly" in done.stderr
    assert "cleanup" in done.stderr


def test_without_docker_the_script_says_what_is_missing(checkout: Checkout) -> None:
    done = checkout.run("dev", DOCKER="/nonexistent/docker")
    assert done.returncode == 1
    assert "Compose plugin is needed" in done.stderr
