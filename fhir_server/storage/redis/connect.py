"""The connection to Redis: bounded in time, and over TLS where the address says `rediss`."""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig


def connect(url: str, seconds: float, ca_file: Path | None = None) -> Redis:
    """A client for the URL; it connects with its first command. An answer is waited for so long
    and asked for once: who is counted twice for a lost answer waits for nothing. `ca_file` holds
    the certificates that a server's is judged by, in place of the system's."""
    # A pool that takes notice of a hosted Redis's maintenance gives out, without a look, the
    # connections of a server that has died since: each would fail the request that gets it.
    options: dict[str, Any] = {}
    if url.startswith("rediss:") and ca_file is not None:
        options["ssl_ca_certs"] = str(ca_file)
    return Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )
