"""`medsage bench proof-mutants`: mistakes planted in the compilers, the evaluator and the
encodings are all noticed by the search proof."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.mutants import MUTANTS
from deploy import dev_mongodb

ROOT = Path(__file__).parents[1]
SEARCHES = 12_000
"""Most searches of a store before a mutant counts as one that survives; without a store, when
the evaluator and the oracle alone answer, five times as many."""
SECONDS = 300


def judged(number: int, uri: str | None, searches: int = SEARCHES) -> dict[str, Any]:
    """What the proof says of a mutant."""
    store = MUTANTS[number].store
    place = [uri] if uri and store == "mongodb" else []
    searches = searches if store else 5 * searches
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.planted", str(number), str(searches), folder]
        done = subprocess.run(
            [*command, *place], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
        )
    if done.returncode:
        return {"mutant": MUTANTS[number].name, "difference": None, "failed": done.stderr[-500:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """Every mutant, or with `only` those whose name has the text; `count` is the most searches
    for each."""
    unknown = {*options} - {"only", "count"}
    if unknown:
        raise ValueError(f"not an option of this proof: {unknown}")
    chosen = [number for number, each in enumerate(MUTANTS) if options.get("only", "") in each.name]
    searches = int(options.get("count", SEARCHES))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        uri = os.environ.get("MEDSAGE_TEST_MONGODB_URI")
        if not uri and any(MUTANTS[number].store == "mongodb" for number in chosen):
            server = dev_mongodb.running(dev_mongodb.find(os.environ), Path(folder) / "mongodb")
            uri, _ = stack.enter_context(server)
        found = [judged(number, uri, searches) for number in chosen]
    return {
        "bench": "proof-mutants",
        "mutants": len(found),
        "caught": sum(each["difference"] is not None for each in found),
        "survivors": [each for each in found if each["difference"] is None],
        "seconds": round(time.monotonic() - began, 1),
        "found": found,
    }
