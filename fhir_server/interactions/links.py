"""Links between the resources of a transaction (R4 RESTful API, "Transaction Processing Rules";
Bundle, "Resolving references in Bundles").

A link to another entry is replaced by the identity that the entry gets: in references, in
elements of type uri, url, oid, uuid and canonical, and in href and src of narratives.
"""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fhir_server.fhir.definitions import choice_key, structures
from fhir_server.fhir.outcome import FhirError, Issue
from fhir_server.interactions.context import Resource

Kind = Literal["entry", "criteria", "unknown", "narrative"]
Holder = Any  # the dict or list that holds the text

_URI_TYPES = frozenset({"uri", "url", "oid", "uuid", "canonical"})
_REFERENCE_TYPES = frozenset({"string"})
_REST_URL = re.compile(r"(https?://\S+/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}", re.ASCII)
_CRITERIA = re.compile(r"[A-Z][A-Za-z]+\?\S+", re.ASCII)
_ATTRIBUTE = re.compile(r"""((?:href|src)\s*=\s*)(["'])(.*?)\2""")


@dataclass(frozen=True, slots=True)
class Link:
    """A place, `holder[at]`, that names another resource by `text` as submitted.

    `target` is the full URL of the entry meant, for kind "entry"; a link of kind "criteria" is
    a conditional reference, one of kind "unknown" a urn that no entry of the Bundle has.
    """

    kind: Kind
    holder: Holder
    at: str | int
    text: str
    target: str = ""

    def point_to(self, text: str) -> None:
        """Write `text` in the place; may be done again with another text."""
        self.holder[self.at] = text


@dataclass(frozen=True, slots=True)
class _Scope:
    """The full URLs of a Bundle as seen from one entry; `root` resolves relative references."""

    urls: Container[str]
    root: str | None


def root_of(full_url: str | None) -> str | None:
    """The base that relative references of an entry are resolved against, if it has one."""
    found = _REST_URL.fullmatch(full_url) if full_url else None
    return found[1] if found else None


def links_of(resource: Resource, urls: Container[str], root: str | None) -> list[Link]:
    """Every link in the resource that must be resolved before it is stored."""
    found: list[Link] = []
    _collect(resource, _Scope(urls, root), found)
    return [link for link in found if _is_link(resource, link)]


def _collect(value: dict[str, Any], scope: _Scope, found: list[Link]) -> None:
    for name, item in value.items():
        if isinstance(item, str):
            if name == "reference":
                _reference(value, item, scope, found)
            elif item in scope.urls:
                found.append(Link("entry", value, name, item, item))
            elif name == "div" and ("href" in item or "src" in item):
                found.append(Link("narrative", value, name, item))
        elif isinstance(item, dict):
            _collect(item, scope, found)
        elif isinstance(item, list):
            _collect_list(item, scope, found)


def _collect_list(values: list[Any], scope: _Scope, found: list[Link]) -> None:
    for at, item in enumerate(values):
        if isinstance(item, dict):
            _collect(item, scope, found)
        elif isinstance(item, str) and item in scope.urls:
            found.append(Link("entry", values, at, item, item))


def _reference(holder: dict[str, Any], text: str, scope: _Scope, found: list[Link]) -> None:
    if text in scope.urls:
        found.append(Link("entry", holder, "reference", text, text))
    elif scope.root is not None and scope.root + text in scope.urls:
        found.append(Link("entry", holder, "reference", text, scope.root + text))
    elif text.startswith(("urn:uuid:", "urn:oid:")):
        found.append(Link("unknown", holder, "reference", text))
    elif "?" in text and _CRITERIA.fullmatch(text):
        found.append(Link("criteria", holder, "reference", text))


def _is_link(resource: Resource, link: Link) -> bool:
    """A string that happens to equal a full URL is a link only in an element of a URI type; some
    elements called `reference` are such URIs, and no references."""
    if link.kind == "narrative" or (link.kind == "entry" and link.at == "reference"):
        return True
    return _type_at(resource, link) in (_URI_TYPES if link.kind == "entry" else _REFERENCE_TYPES)


def _type_at(resource: Resource, link: Link) -> str | None:
    type_name: str | None = resource["resourceType"]
    for step, value in _path(resource, link):
        if isinstance(step, int):
            continue
        type_name = _element_type(type_name, step)
        if isinstance(value, dict) and "resourceType" in value:
            type_name = value["resourceType"]
    return type_name


def _element_type(type_name: str | None, name: str) -> str | None:
    facts = structures().get(type_name or "")
    if facts is None:
        return None
    element = facts["elements"].get(name)
    if element is not None:
        return element["types"][0]
    return next(
        (
            each
            for choice, element in facts["elements"].items()
            if element.get("choice") and name.startswith(choice)
            for each in element["types"]
            if choice_key(choice, each) == name
        ),
        None,
    )


def _path(resource: Resource, link: Link) -> list[tuple[str | int, Any]]:
    """The steps from the resource to the link's place, each with the value that it leads to."""
    if resource is link.holder:
        return [(link.at, link.text)]
    for step, value in _children(resource):
        below = _path(value, link)
        if below:
            return [(step, value), *below]
    return []


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def expression_of(resource: Resource, link: Link) -> str:
    """The FHIRPath of the link's place, from the resource's type on."""
    steps = (
        f"[{step}]" if isinstance(step, int) else f".{step}" for step, _ in _path(resource, link)
    )
    return str(resource["resourceType"]) + "".join(steps)


def narrative(text: str, identities: Mapping[str, str]) -> str:
    """The narrative with links to entries replaced by their identities."""

    def replaced(found: re.Match[str]) -> str:
        url, mark, fragment = found[3].partition("#")
        return f"{found[1]}{found[2]}{identities.get(url, url)}{mark}{fragment}{found[2]}"

    return _ATTRIBUTE.sub(replaced, text)


def refuse_conditional_references(resource: Resource) -> None:
    """400 when a resource that comes by itself has conditional references: R4 allows them in
    transactions only."""
    links = [link for link in links_of(resource, (), None) if link.kind == "criteria"]
    if links:
        raise FhirError(
            400,
            tuple(
                Issue(
                    "error",
                    "invalid",
                    f"{link.text}: a reference by search is allowed in transactions only",
                    (expression_of(resource, link),),
                )
                for link in links
            ),
        )
