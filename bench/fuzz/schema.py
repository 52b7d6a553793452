"""Schemathesis on the server's own OpenAPI document."""

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from typing import Any

LONGEST_SECONDS = 1800
_CASES = re.compile(r"(\d+) generated")
_SHOWN = 3000


def tried(origin: str, token: str, *, examples: int, seed: int) -> dict[str, Any]:
    """How many `cases` were sent, and whether none got 500 or more; `wrong` is the end of its
    report otherwise. Without Schemathesis: that it is missing."""
    if find_spec("schemathesis") is None:
        return {"missing": "schemathesis"}
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{origin}/openapi.json"),
        *("--checks", "not_a_server_error", "--max-examples", str(examples)),
        *("--seed", str(seed), "-H", f"Authorization: Bearer {token}", "--no-color"),
    ]
    with tempfile.TemporaryDirectory() as folder:  # it leaves a cache where it runs
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    cases = _CASES.search(done.stdout)
    found: dict[str, Any] = {
        "cases": int(cases[1]) if cases else 0,
        "passed": done.returncode == 0 and cases is not None,
    }
    return found if found["passed"] else found | {"wrong": _failures(done.stdout + done.stderr)}


def _failures(report: str) -> str:
    """The part of the report that names what went wrong."""
    return report[max(0, report.find("= FAILURES =")) :][:_SHOWN]
