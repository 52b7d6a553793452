"""How each kind of part is started, and how one sees that it is ready: one entry for each role."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy import dev_mongodb
from deploy.is_ready import problem as http_problem
from deploy.processes import door, redis_password, roles, running, watching
from deploy.processes.plan import NoShape, Plan, Slot


@dataclass(frozen=True)
class Program:
    """`command` makes the files that the part reads and gives what starts it on a port, out of
    the code in a folder; `problem` is why it is not ready there, or None; after `stop_signal` it
    has `stop_seconds` to end by itself."""

    command: Callable[[Plan, Slot, int, Path], list[str]]
    problem: Callable[[Plan, Slot, int], str | None]
    stop_seconds: float = 30.0
    stop_signal: int = signal.SIGTERM


def environment(plan: Plan, slot: Slot, code: Path) -> dict[str, str]:
    """What a part finds in its environment: nothing of its starter's but where programs lie."""
    if slot.role not in roles.ENVIRONMENT:
        return running.passed()
    return running.passed() | {"PYTHONPATH": str(code)} | roles.environment(plan, slot.name)


def _medsage(plan: Plan, slot: Slot, port: int, code: Path) -> list[str]:
    roles.give_secrets(plan, slot.name)
    serve = ["serve", "--role", slot.role, "--port", str(port)]
    # -P: what lies where it runs is not imported.
    return [sys.executable, "-P", "-m", "deploy.cli", *serve, "--data", "data"]


def _answers(plan: Plan, slot: Slot, port: int) -> str | None:
    return http_problem(f"http://127.0.0.1:{port}/health/ready")


def _nginx(plan: Plan, slot: Slot, port: int, code: Path) -> list[str]:
    if door.program() is None:
        raise NoShape("nginx is not installed (Debian's package nginx-light is enough)")
    return door.command(plan.own("nginx"), plan.own("nginx") / "nginx.conf")


def _nginx_answers(plan: Plan, slot: Slot, port: int) -> str | None:
    return http_problem(f"http://127.0.0.1:{plan.door('alive')}/alive")


def _redis(plan: Plan, slot: Slot, port: int, code: Path) -> list[str]:
    found = shutil.which("redis-server")
    if found is None:
        raise NoShape("redis-server is not installed (Debian's package redis-server)")
    own = plan.own("redis")
    (own / "data").mkdir(parents=True, exist_ok=True)
    password = redis_password.write(plan)
    text = (code / "deploy/redis/redis.conf").read_text("utf-8")
    here = {"/tmp/password.conf": str(password), "dir /data": f"dir {own}/data"}  # noqa: S108
    for old, new in here.items():
        text = text.replace(old, new)
    (own / "redis.conf").write_text(f"{text}bind 127.0.0.1\nport {port}\n", "utf-8")
    return [found, str(own / "redis.conf")]


def _redis_answers(plan: Plan, slot: Slot, port: int) -> str | None:
    return redis_password.problem(plan, port)


def _mongodb(plan: Plan, slot: Slot, port: int, code: Path) -> list[str]:
    folder = plan.own("mongodb") / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return dev_mongodb.command(dev_mongodb.find(os.environ), folder, port)


def _mongodb_answers(plan: Plan, slot: Slot, port: int) -> str | None:
    return dev_mongodb.problem(port)


def _prometheus(plan: Plan, slot: Slot, port: int, code: Path) -> list[str]:
    return watching.prometheus(plan, port, code)


def _alertmanager(plan: Plan, slot: Slot, port: int, code: Path) -> list[str]:
    return watching.alertmanager(plan, port, code)


def _watching_answers(plan: Plan, slot: Slot, port: int) -> str | None:
    return http_problem(f"http://127.0.0.1:{port}/-/ready")


PROGRAMS: Mapping[str, Program] = {
    "redis": Program(_redis, _redis_answers),
    "mongodb": Program(_mongodb, _mongodb_answers, stop_seconds=60.0),
    "server": Program(_medsage, _answers),
    "nginx": Program(_nginx, _nginx_answers, stop_signal=signal.SIGQUIT),
    "worker": Program(_medsage, _answers),
    "app": Program(_medsage, _answers),
    "all": Program(_medsage, _answers),
    "alertmanager": Program(_alertmanager, _watching_answers),
    "prometheus": Program(_prometheus, _watching_answers),
}
"""Role → its program."""
