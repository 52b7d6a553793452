"""Search result parameters (R4 Search, "Managing Returned Resources"): `_sort`, `_count` …"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import FhirError, bad_parameter, unsupported
from fhir_server.search.expression import SortKey
from fhir_server.search.readiness import require_ready
from fhir_server.search.registry import Parameter, Registry

DEFAULT_COUNT = 50
MOST_COUNT = 1000

PASSED_ON = frozenset({"_format", "_pretty"})
"""Read by the REST layer; a search lets them be."""

ALL_TYPES = "Parameters"
"""The type whose parameters are just those that every resource has."""

NOT_BUILT: Mapping[str, str] = {
    "_score": "matches have no score: they are found or not",
    "_query": "the only named query is lastn, on Observation, given once and outside compartments",
}
"""Search parameters of R4 that this server does not have, and why."""


Types = tuple[str, frozenset[str] | None]
"""The type that is searched, and all types of the same search: None when it is alone, empty
when they are all there are."""


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`: resources that `parameter` of `source` points to, of
    type `target` only if that is given. `source` None is `*`, `parameter` None is `Type:*`."""

    source: str | None
    parameter: Parameter | None
    target: str | None
    is_reverse: bool
    is_iterated: bool


@dataclass(frozen=True, slots=True)
class Options:
    """What the result parameters ask for. `wants_total` is None when none was asked for;
    `may_lack_total` when an estimate would do. `contained`: whether contained resources are found
    beside others (`both`) or alone (`true`), and then whether what contains them is sent."""

    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    wants_total: bool | None = None
    may_lack_total: bool = False
    is_count_only: bool = False
    includes: tuple[Include, ...] = ()
    cursor: str | None = None
    contained: str = "false"
    is_container_sent: bool = True


def near(word: str, known: list[str]) -> str:
    """` (did you mean …?)` with the known words that look alike, or nothing."""
    lower = {each.lower(): each for each in known}
    close = [lower[each] for each in get_close_matches(word.lower(), lower, n=3, cutoff=0.6)]
    return f" (did you mean {', '.join(close)}?)" if close else ""


def not_built(code: str) -> FhirError:
    """The refusal of a parameter that R4 has and this server has not."""
    return unsupported(f"{code} is not supported by this server: {NOT_BUILT[code]}")


def find_parameter(registry: Registry, type_: str, code: str) -> Parameter:
    """The searchable parameter with this code; 400 naming near matches, or what is not built."""
    parameter = registry.parameter(type_, code)
    if parameter is None:
        known = [each.code for each in registry.searchable(type_)]
        raise bad_parameter(
            f"{code!r} is not a search parameter of {type_}{near(code, known)}; "
            "names are case-sensitive"
        )
    if not parameter.is_searchable:
        raise unsupported(f"the search parameter {code} of {type_} is not supported by this server")
    require_ready(registry, parameter)
    return parameter


def read_option(
    options: Options, registry: Registry, types: Types, pair: tuple[str, str]
) -> Options | None:
    """The options with one more result parameter; None when the name is not one of them."""
    name, value = pair
    code, _, modifier = name.partition(":")
    if code in NOT_BUILT:
        raise not_built(code)
    reader = _READERS.get(code)
    if reader is None:
        return None
    if modifier and not (modifier == "iterate" and code in ("_include", "_revinclude")):
        raise bad_parameter(f"{code} has no modifier {modifier!r}")
    if not value:
        raise bad_parameter(f"{name} has no value")
    return reader(options, _Place(registry, *types, name), value)


@dataclass(frozen=True, slots=True)
class _Place:
    registry: Registry
    type: str
    among: frozenset[str] | None
    name: str

    def searches(self, type_: str) -> bool:
        """Whether matches may be of the type."""
        return type_ == self.type if self.among is None else not self.among or type_ in self.among

    def refuse(self, text: str) -> FhirError:
        return bad_parameter(f"{self.name}: {text}")


def _count(options: Options, place: _Place, value: str) -> Options:
    if not (value.isascii() and value.isdigit()):
        raise place.refuse(f"{value!r} is not a whole number of 0 or more")
    number = int(value[:10])
    if number == 0:
        return replace(options, is_count_only=True)
    return replace(options, count=min(number, MOST_COUNT))


def _total(options: Options, place: _Place, value: str) -> Options:
    # An exact total satisfies the wish for an estimate.
    wants = {"none": False, "accurate": True, "estimate": True}.get(value)
    if wants is None:
        raise place.refuse(f"{value!r} is not none, estimate or accurate")
    return replace(options, wants_total=wants, may_lack_total=value == "estimate")


def _summary(options: Options, place: _Place, value: str) -> Options:
    match value:
        case "count":
            return replace(options, is_count_only=True)
        case "false":
            return options
        case "true" | "text" | "data":  # what is left of a resource: fhir/narrow.py
            return options
        case _:
            raise place.refuse(f"{value!r} is not true, text, data, count or false")


def _elements(options: Options, _: _Place, value: str) -> Options:
    # What is left of a resource: fhir/narrow.py.
    return options


def _type(options: Options, place: _Place, value: str) -> Options:
    raise place.refuse(f"the type is in the URL already; {value} is searched without one")


def _contained(options: Options, place: _Place, value: str) -> Options:
    if value not in ("true", "false", "both"):
        raise place.refuse(f"{value!r} is not true, false or both")
    if value != "false" and place.among is not None:
        raise unsupported(f"_contained={value}: only searches on one type look inside resources")
    return replace(options, contained=value)


def _contained_type(options: Options, place: _Place, value: str) -> Options:
    if value not in ("container", "contained"):
        raise place.refuse(f"{value!r} is not container or contained")
    return replace(options, is_container_sent=value == "container")


def _sort(options: Options, place: _Place, value: str) -> Options:
    if options.sort:
        raise place.refuse("given twice; put the keys into one, with commas")
    keys = []
    for each in value.split(","):
        code = each.removeprefix("-")
        parameter = find_parameter(place.registry, place.type, code)
        if not parameter.is_sortable:
            raise place.refuse(f"{code} is a {parameter.fhir_type} and has no order")
        keys.append(SortKey(parameter.key, each.startswith("-")))
    return replace(options, sort=tuple(keys))


def _cursor(options: Options, _: _Place, value: str) -> Options:
    return replace(options, cursor=value)


def _include(options: Options, place: _Place, value: str) -> Options:
    code, _, modifier = place.name.partition(":")
    is_reverse, is_iterated = code == "_revinclude", modifier == "iterate"
    source, parameter, target = None, None, None
    if value != "*":
        source, parameter, target = _include_parts(place, value)
    if parameter is None:
        require_all_ready(place.registry)
    include = Include(source, parameter, target, is_reverse, is_iterated)
    if not is_reverse and not is_iterated and source is not None and not place.searches(source):
        raise place.refuse(
            f"{source} is not the type that is searched; :iterate follows included resources"
        )
    return replace(options, includes=(*options.includes, include))


def require_all_ready(registry: Registry) -> None:
    """A wildcard follows every reference there is: FhirError 503 while one is not indexed."""
    for type_ in resource_types() if registry.pending else ():
        for parameter in registry.parameters(type_).values():
            if parameter.is_included:
                require_ready(registry, parameter)


def _include_parts(place: _Place, value: str) -> tuple[str, Parameter | None, str | None]:
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    if not code:
        raise place.refuse(f"{value!r} is not Type:parameter or Type:parameter:TargetType")
    for type_ in (source, target):
        if type_ and type_ not in resource_types():
            known = near(type_, sorted(resource_types()))
            raise place.refuse(f"{type_!r} is not a resource type of R4{known}")
    if code == "*":
        return source, None, target or None
    parameter = find_parameter(place.registry, source, code)
    if parameter.kind != "reference":
        raise place.refuse(f"{source}:{code} is a {parameter.fhir_type}, not a reference")
    if target and target not in parameter.targets:
        raise place.refuse(f"{source}:{code} does not refer to {target}")
    return source, parameter, target or None


_READERS: Mapping[str, Callable[[Options, _Place, str], Options]] = {
    "_count": _count,
    "_total": _total,
    "_summary": _summary,
    "_sort": _sort,
    "_elements": _elements,
    "_type": _type,
    "_contained": _contained,
    "_containedType": _contained_type,
    "_cursor": _cursor,
    "_include": _include,
    "_revinclude": _include,
}

RESULT_PARAMETERS = tuple(_READERS)
"""The result parameters that this server understands."""

RESULT_CODES = frozenset({*_READERS, *PASSED_ON, "_score", "_query"})
"""Parameters that say nothing about what matches."""
