"""How suites that need more than Python run, or are named as not run (`tests/availability.py`)."""

import re
from collections import Counter

import pytest

from tests.availability import SUITES, chromium, in_ci
from tests.redis_server import redis_client, redis_port
from tests.stores import mongodb_server

__all__ = ["mongodb_server", "redis_client", "redis_port"]

NOT_RUN = re.compile(r"not run: (\w+) \(")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: playwright's loop stays in the process and no other can start after."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose suite lacks something, or fail it where everything must be here."""
    for suite in SUITES.values():
        if item.get_closest_marker(suite.name) is None:
            continue
        missing = suite.missing()
        if missing is None:
            continue
        if suite.always_in_ci and in_ci():
            pytest.fail(f"the suite {suite.name} can't run: {missing}", pytrace=False)
        pytest.skip(f"not run: {suite.name} ({missing})")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each suite that did not run, wherever its tests would have run (xdist)."""
    reasons = (str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    found = Counter(hit[1] for hit in map(NOT_RUN.search, reasons) if hit)
    for name, tests in found.items():
        line = f"not run: {name}, {tests} tests ({SUITES[name].missing()})"
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, object]:
    """Chromium as Debian packages it, without the calls home that a closed network refuses."""
    flags = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync")
    quiet = ("--disable-background-networking", "--disable-component-update")
    return {"executable_path": chromium(), "args": [*flags, *quiet]}
