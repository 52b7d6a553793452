"""The benchmarks by name."""

from collections.abc import Callable, Mapping
from typing import Any

Bench = Callable[[Mapping[str, str]], dict[str, Any]]
"""Options (`--option name=value`) in, the JSON result out."""

BENCHES: Mapping[str, Bench] = {}
