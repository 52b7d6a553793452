"""SearchParameter resources as search parameters of this server (R4 SearchParameter).

One takes effect when its status is active, its expression is of the part of FHIRPath that
`search/paths.py` reads, and no other definition has its code on its types. What stands in the way
is said of the resource, with the place in it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.definitions import resource_types, structures
from fhir_server.fhir.outcome import Issue
from fhir_server.search.compiled import encodable
from fhir_server.search.kinds import KINDS
from fhir_server.search.paths import ExpressionError, arms
from fhir_server.search.registry import CORE, Parameter, Registry
from fhir_server.search.routes import routes

Resource = Mapping[str, Any]
Row = dict[str, Any]

CODE = re.compile(r"[A-Za-z][A-Za-z0-9_\-]{0,63}", re.ASCII)
"""Codes that begin with `_` are R4's: criteria of every type, and what says how to answer."""

MOST_CHARACTERS = 2000
"""Of an expression; the longest of R4 has 1386. Every write of a definition reads them all."""

RESERVED = frozenset({"canonical", "guard", "has", "near", "securityContext"})
"""Names of terms that no definition makes: what a custom parameter put among them would be taken
for what the server itself states of a resource."""

SUPERTYPES = frozenset({"Resource", "DomainResource"})
_EVERYTHING = frozenset({"Parameters"})
"""What this type has stands for what every type has, in searches over all of them."""


def row_of(resource: Resource) -> Row:
    """The definition as a row of the kind that `Registry` takes."""
    return {
        "url": resource["url"],
        "code": resource["code"],
        "type": resource["type"],
        "base": list(resource["base"]),
        "expression": resource.get("expression"),
        "target": list(resource.get("target", ())),
        "component": [
            {"url": _short(each["definition"]), "expression": each["expression"]}
            for each in resource.get("component", ())
        ],
    }


def problems(resource: Resource, registry: Registry) -> list[Issue]:
    """What keeps an active, valid SearchParameter from taking effect beside the definitions of
    the registry; none for one that is not active."""
    if resource.get("status") != "active":
        return []
    return list(_problems(resource, registry))


@dataclass(frozen=True, slots=True)
class InEffect:
    """The rows of those that take effect, by url; of those that are active and don't, why."""

    rows: Mapping[str, Row]
    refused: Sequence[tuple[Resource, Sequence[Issue]]]


def in_effect(
    resources: Iterable[Resource], official: Registry, last: frozenset[str] = frozenset()
) -> InEffect:
    """Which of the SearchParameters of a store take effect. Of two that clash it is the one whose
    id is not among `last`, else the one with the lower id; composites come after their parts."""
    rows: dict[str, Row] = {}
    refused: list[tuple[Resource, Sequence[Issue]]] = []
    registry = official
    active = [each for each in resources if each["status"] == "active"]
    for each in sorted(active, key=lambda one: (one["type"] == "composite", one["id"] in last,
                                                one["id"])):  # fmt: skip
        url = each["url"]
        if url in rows:
            found = [_issue("url", "another active SearchParameter has this url")]
        else:
            found = problems(each, registry)
        if found:
            refused.append((each, found))
        elif not is_official(each, official):
            rows[url] = row_of(each)
            registry = official.with_custom(rows.values())
    return InEffect(rows, refused)


def is_official(resource: Resource, registry: Registry) -> bool:
    """Whether R4 itself has a definition of this url."""
    url = _short(resource["url"])
    return url in registry.rows and url not in registry.custom


def _problems(resource: Resource, registry: Registry) -> Iterator[Issue]:
    if is_official(resource, registry):
        yield from _against_official(resource, registry)
        return
    if CODE.fullmatch(resource["code"]) is None or resource["code"] in RESERVED:
        yield _issue("code", f"{resource['code']!r} cannot be the code of an added parameter")
        return
    possible = (resource_types() | SUPERTYPES) - _EVERYTHING
    bases = [base for base in resource["base"] if base not in possible]
    if bases:
        yield _issue("base", f"{', '.join(bases)}: no type of R4 that can be added to")
        return
    kind = resource["type"]
    if kind not in KINDS and kind != "composite":
        yield _issue("type", f"parameters of type {kind} cannot be added")
        return
    if "expression" not in resource:
        yield _issue("expression", "without an expression there is nothing to index")
        return
    try:
        _require_readable(resource["expression"])
    except ExpressionError as problem:
        yield _issue("expression", str(problem))
        return
    yield from _clashes(resource, registry)
    found = list(_of_components(resource, registry)) if kind == "composite" else []
    yield from found
    if not found:
        yield from _leads_nowhere(resource, registry)


def _against_official(resource: Resource, registry: Registry) -> Iterator[Issue]:
    """An official url may only say what R4 says."""
    official = registry.rows[_short(resource["url"])]
    row = row_of(resource)
    if any(row[name] != official.get(name) for name in ("code", "type", "expression")):
        yield _issue("url", "definitions of R4 cannot be changed; give it a url of its own")


def _clashes(resource: Resource, registry: Registry) -> Iterator[Issue]:
    for type_ in _types(resource["base"]):
        present = registry.parameter(type_, resource["code"])
        if present is not None and present.url != resource["url"]:
            yield _issue(
                "code", f"{type_} has a parameter {resource['code']} already: {present.url}"
            )
            return


def _of_components(resource: Resource, registry: Registry) -> Iterator[Issue]:
    if not resource.get("component"):
        yield _issue("component", "a composite needs components")
    for index, component in enumerate(resource.get("component", ())):
        place = f"component[{index}]"
        definition = registry.rows.get(_short(component["definition"]))
        if definition is None or definition["type"] not in KINDS:
            name = component["definition"]
            yield _issue(f"{place}.definition", f"{name} is no search parameter known here")
            continue
        try:
            _require_readable(component["expression"])
        except ExpressionError as problem:
            yield _issue(f"{place}.expression", str(problem))


def _require_readable(expression: str) -> None:
    if len(expression) > MOST_CHARACTERS:
        raise ExpressionError(f"longer than {MOST_CHARACTERS} characters")
    arms(expression)


def _leads_nowhere(resource: Resource, registry: Registry) -> Iterator[Issue]:
    """Types on which the expression finds no element of a datatype that is indexed."""
    trial = registry.with_custom((*registry.custom.values(), row_of(resource)))
    for base in resource["base"]:
        for type_ in _examples(base):
            parameter = trial.parameter(type_, resource["code"])
            if parameter is None or parameter.url != resource["url"] or not _indexes(parameter):
                yield _issue(
                    "expression",
                    f"on {base} it leads to no element that a {resource['type']} can index",
                )
                return


def _indexes(parameter: Parameter) -> bool:
    expression = parameter.expression
    if expression is None:
        return False
    if parameter.kind != "composite":
        return bool(encodable(parameter, expression, parameter.type))
    elements = routes(parameter.type, expression, parameter.type)
    return bool(elements) and all(
        any(encodable(each.parameter, each.expression, element.datatype) for element in elements)
        for each in parameter.components
    )


def _examples(base: str) -> Sequence[str]:
    """A type to try the expression on."""
    match base:
        case "Resource":
            return ("Parameters",)
        case "DomainResource":
            return ("Basic",)
        case _:
            return (base,)


def _types(bases: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for base in bases:
        if base in SUPERTYPES:
            found.update(dict.fromkeys(sorted(resource_types())))
        elif base in structures():
            found[base] = None
    return list(found)


def _short(url: str) -> str:
    """Rows of R4's own definitions are known by the end of their url."""
    return url.removeprefix(CORE)


def _issue(place: str, text: str) -> Issue:
    return Issue("error", "business-rule", text, (f"SearchParameter.{place}",))
