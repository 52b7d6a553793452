"""FHIRPath over a resource's JSON (FHIRPath 2.0, R4 "FHIRPath").

`compiled(expression).values(resource)` is all that the rest of the house knows; fhirpathpy and
its R4 model stand behind it (docs/adr/0011). It is loaded with the first expression, and meant
for the cold path: patches, invariants, the second oracle. Nothing is ever fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Any, Protocol

from fhir_server.fhir.codec import Resource

MOST_COMPILED = 512


class FhirPathError(ValueError):
    """An expression that is not FHIRPath, or that cannot be evaluated on this resource."""


@dataclass(frozen=True, slots=True)
class Node:
    """One result. `type` is its FHIR or System type where the model knows it; `place` its path
    from the root with indexes (`Patient.name[0].given[1]`), None for what was computed; `path`
    is where the model knows its children (`HumanName`, `Observation.component`)."""

    value: Any
    type: str | None = None
    place: str | None = None
    path: str | None = field(default=None, compare=False, repr=False)


class Path(Protocol):
    """An expression that was read once and can be asked of many resources."""

    @property
    def functions(self) -> frozenset[str]:
        """The names of the functions that it calls."""

    def values(
        self,
        resource: Resource,
        variables: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
    ) -> list[Any]:
        """The results in order: JSON values of the resource itself (decimals as Decimal), or
        computed ones (dates and times as text, quantities as `{"value", "unit"}`).

        `variables` are the environment (`%name`); `%resource`, `%rootResource` and `%context`
        are the resource unless given. `now()`, `today()` and `timeOfDay()` need `now`.
        Raises FhirPathError.
        """

    def nodes(
        self,
        resource: Resource | Node,
        variables: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
        until: float = inf,
    ) -> list[Node]:
        """As `values`, each with its type and its place. An element found before is a root as
        well; `%resource` is for the caller to give then. FhirPathError also when it is not done
        `until` then, by `time.monotonic()`."""


@lru_cache(maxsize=MOST_COMPILED)
def compiled(expression: str) -> Path:
    """The expression, read; FhirPathError (a ValueError) when it is not FHIRPath."""
    # The parser and the R4 model take a quarter of a second and 20 MB: only who uses them pays.
    from fhir_server.fhir.fhirpath_engine import read

    return read(expression)
