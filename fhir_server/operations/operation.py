"""What an operation declares, and what it is given when it is called (R4 Operations)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.security.scopes import Action

Level = Literal["system", "type", "instance", "version"]
"""Where it is called: on the base, a type, a resource, or one version of a resource."""

Pairs = tuple[tuple[str, str], ...]

CORE = "http://hl7.org/fhir/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input parameter. `type` is its FHIR type as in value[x] (`Resource`: any resource);
    `most` None means any number."""

    name: str
    type: str
    least: int = 0
    most: int | None = 1

    @property
    def is_simple(self) -> bool:
        """Whether it can be written in a URL."""
        return self.type[0].islower()


@dataclass(frozen=True)
class OperationRequest:
    """A call whose parameters have been checked. `values` holds those given, by name: str, bool
    or int for the simple types, else the JSON value; `search` the pairs of search parameters of
    an operation that takes them."""

    request: FhirRequest
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    search: Pairs = ()

    def all(self, name: str) -> tuple[Any, ...]:
        """Every value of the parameter, in the order given."""
        return self.values.get(name, ())

    def only(self, name: str) -> Any:
        """The value of a parameter that may be given once; None without it."""
        given = self.all(name)
        return given[0] if given else None


Run = Callable[[Context, OperationRequest], Awaitable[FhirResponse]]


@dataclass(frozen=True)
class Operation:
    """One operation, as its OperationDefinition at `definition` says.

    `types` are those whose URL it is called on (None: every one); `actions` what the caller must
    be allowed to do with the type in the URL. One that `affects_state` is called by POST and
    writes its audit record in its own unit; the record of any other is written after it. One
    that `takes_search` gets the parameters that are not its own as a search of the type, one
    that `rehearses` runs units that are undone.
    """

    code: str
    definition: str
    levels: frozenset[Level]
    run: Run
    types: frozenset[str] | None = None
    parameters: tuple[Parameter, ...] = ()
    actions: tuple[Action, ...] = ()
    affects_state: bool = False
    takes_search: bool = False
    rehearses: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """GET where it changes nothing and a URL can hold all that it needs; POST always."""
        needs_body = any(each.least and not each.is_simple for each in self.parameters)
        return ("POST",) if self.affects_state or needs_body else ("GET", "POST")

    def is_at(self, level: Level, type: str | None) -> bool:
        """Whether it can be called there."""
        return level in self.levels and (type is None or self.types is None or type in self.types)
