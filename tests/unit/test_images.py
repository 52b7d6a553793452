"""Whether the image of each role has what the role runs: the process is started by a Python that
finds only what the image's extras bring."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from deploy.cli import COMMANDS
from tests.availability import ROOT
from tests.images import extras_of, python_of

ROLES = ("server", "worker", "app")
# What is asked for only where a setting names it.
ON_DEMAND: Mapping[str, str] = {
    "mongodb": "fhir_server.storage.mongo.store",
    "redis": "fhir_server.storage.redis.counters, redis.asyncio",
    "gemini": "google.genai",
    "tracing": "deploy.tracing.otel",
    "vision": "ai_edge_litert.interpreter, cv2",
}
NEEDS = {
    "server": {"mongodb", "redis", "tracing", "vision"},
    "worker": {"mongodb", "gemini", "tracing", "vision"},
    "app": {"redis", "tracing", "vision"},
}


def environment(folder: Path, **settings: str) -> dict[str, str]:
    named = {f"MEDSAGE_{name.upper()}": value for name, value in settings.items()}
    own = {"MEDSAGE_DATA": str(folder / "data"), "MEDSAGE_DEMO": "false"}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **own, **named}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_and_answers_with_what_its_image_has(
    role: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    program = "from deploy.cli import main; main()"
    settings = {"role": role, "server_url": "http://127.0.0.1:1"}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [*python_of(role, program), "serve", "--port", str(unused_tcp_port)],
            cwd=tmp_path,
            env=environment(tmp_path, **settings),
            stdout=said,
            stderr=said,
        )
    try:
        assert answers(process, unused_tcp_port), (tmp_path / "said").read_text("utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it says that it lives before it ends."""
    while process.poll() is None:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    return False


@pytest.mark.parametrize("role", ROLES)
def test_an_image_has_what_settings_and_commands_ask_for(role: str, tmp_path: Path) -> None:
    assert NEEDS[role] <= extras_of(role)
    modules = [*(ON_DEMAND[each] for each in NEEDS[role]), *COMMANDS.values(), "deploy.is_ready"]
    done = subprocess.run(
        python_of(role, f"import {', '.join(modules)}"),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_cluster_s_images_are_built_with_the_same_extras() -> None:
    page = (ROOT / "docs/kubernetes.md").read_text("utf-8")
    built = dict(re.findall(r"^ +(\w+)\) extras=(\S+) ;;$", page, re.MULTILINE))
    assert {role: frozenset(extras.split(",")) for role, extras in built.items()} == {
        role: extras_of(role) for role in ROLES
    }
