"""This machine, as addresses name it."""

from urllib.parse import SplitResult

HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def is_plain_local(url: SplitResult) -> bool:
    """Whether it is http to this machine, the one place where http is as good as https (RFC 8252
    §8.3)."""
    return url.scheme == "http" and url.hostname in HOSTS
