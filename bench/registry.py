"""The benchmarks by name."""

from collections.abc import Callable, Mapping
from typing import Any

Bench = Callable[[Mapping[str, str]], dict[str, Any]]
"""Options (`--option name=value`) in, the JSON result out; ValueError on unknown options."""


def _synthea(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.synthea import run

    return run(options)


def _diagnose(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.diagnose import run

    return run(options)


def _encryption(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.encryption import run

    return run(options)


def _proof_kill(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_kill import run

    return run(options)


def _index(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.index import run

    return run(options)


def _proof_search(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_search import run

    return run(options)


def _proof_mutants(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_mutants import run

    return run(options)


def _proof_faults(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_faults import run

    return run(options)


def _proof_concurrency(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_concurrency import run

    return run(options)


def _proof_fuzz(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_fuzz import run

    return run(options)


def _proof_guard(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_guard import run

    return run(options)


def _load(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.shape.load import run

    return run(options)


def _proof_availability(options: Mapping[str, str]) -> dict[str, Any]:
    from bench.proof_availability import run

    return run(options)


BENCHES: Mapping[str, Bench] = {
    "synthea": _synthea,
    "diagnose": _diagnose,
    "encryption": _encryption,
    "index": _index,
    "load": _load,
    "proof-availability": _proof_availability,
    "proof-concurrency": _proof_concurrency,
    "proof-faults": _proof_faults,
    "proof-fuzz": _proof_fuzz,
    "proof-guard": _proof_guard,
    "proof-kill": _proof_kill,
    "proof-mutants": _proof_mutants,
    "proof-search": _proof_search,
}
