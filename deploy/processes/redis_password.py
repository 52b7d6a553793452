"""Another password of the shape's own Redis while it runs: the one of before counts beside it until
every part has the new one, so that nobody is refused and no session is lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.processes.plan import Plan

if TYPE_CHECKING:
    from redis import Redis

_SECONDS = 2.0
_DIRECTIVE = "requirepass "


def write(plan: Plan) -> Path:
    """The file that Redis reads at its start, with the password of now."""
    file = _file(plan)
    draft = file.with_name(f".{file.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as written:
        written.write(f"{_DIRECTIVE}{_wanted(plan)}\n")
    draft.replace(file)
    return file


def add(plan: Plan, port: int) -> None:
    """The password of now counts too, if the Redis at the port goes by another."""
    if _of_its_start(plan) != _wanted(plan):
        with connected(plan, port) as client:
            client.acl_setuser("default", enabled=True, passwords=[f"+{_wanted(plan)}"])


def settle(plan: Plan, port: int) -> bool:
    """The password of now counts alone, at Redis' next start too; whether another did."""
    if _of_its_start(plan) == _wanted(plan):
        return False
    with connected(plan, port) as client:
        client.acl_setuser(
            "default", enabled=True, reset_passwords=True, passwords=[f"+{_wanted(plan)}"]
        )
    write(plan)
    return True


def problem(plan: Plan, port: int) -> str | None:
    """Why the Redis at the port answers to no password of ours, or None."""
    from redis.exceptions import RedisError

    try:
        with connected(plan, port):
            return None
    except RedisError as failure:
        return type(failure).__name__


@contextmanager
def connected(plan: Plan, port: int) -> Iterator["Redis"]:
    """A client by the password that Redis was started with, else by that of now, which it may have
    been told already. RedisError when it takes neither, or does not answer."""
    # What is installed for other parts has no driver of Redis.
    from redis import Redis
    from redis.exceptions import AuthenticationError

    client = Redis(port=port, password=_of_its_start(plan), socket_timeout=_SECONDS)
    try:
        client.ping()
    except AuthenticationError:
        client.close()
        client = Redis(port=port, password=_wanted(plan), socket_timeout=_SECONDS)
    with client:
        client.ping()
        yield client


def _file(plan: Plan) -> Path:
    return plan.own("redis") / "password.conf"


def _of_its_start(plan: Plan) -> str:
    return _file(plan).read_text("utf-8").removeprefix(_DIRECTIVE).strip()


def _wanted(plan: Plan) -> str:
    return (plan.secrets / "redis_password").read_text("utf-8").strip()
