"""Names that say nothing, names that hide something, and what lacks a docstring."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.project.sources import Function, Source, is_property

EMPTY_WORDS = frozenset(
    (
        *("manager", "helper", "helpers", "util", "utils", "common", "misc", "base", "impl"),
        *("handler", "handlers", "processor", "data", "info", "service"),
    )
)
# FHIR's word wins (terminology service, datatype SampledData, base URL), and asyncio's.
EXEMPT = frozenset({"terminology/service.py", "sampled_data", "base_url", "data_received"})


def empty_names(source: Source) -> Iterator[str]:
    """Modules, classes and functions named with a word that fits anything; in tests, whose
    functions are sentences, the modules and classes."""
    path = PurePosixPath(source.name)
    for part in (*path.parts[1:-1], path.stem):
        if _words(part) & EMPTY_WORDS and source.name not in EXEMPT:
            yield f"{source.name} is named {part}"
    functions = [] if source.is_test else source.functions()
    for node in (*functions, *source.classes()):
        if _words(node.name) & EMPTY_WORDS and node.name not in EXEMPT:
            yield f"{source.at(node)} is named {node.name}"


def standard_names(source: Source) -> Iterator[str]:
    """Modules at a package's root that hide one of the standard library."""
    path = PurePosixPath(source.name)
    if len(path.parts) == 2 and path.stem in sys.stdlib_module_names:
        yield f"{source.name} hides the standard library's {path.stem}"


def undocumented(source: Source) -> Iterator[str]:
    """Public modules, classes, functions and methods of ports without a docstring; of tests, whose
    names are sentences, the modules alone."""
    if source.text.strip() and ast.get_docstring(source.tree) is None:
        yield f"{source.name} has no docstring"
    if source.is_test:
        return
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _undocumented_class(source, node)
        elif isinstance(node, Function) and _lacks_docstring(node):
            yield f"{source.at(node)} {node.name} has no docstring"


def _undocumented_class(source: Source, owner: ast.ClassDef) -> Iterator[str]:
    if _lacks_docstring(owner):
        yield f"{source.at(owner)} {owner.name} has no docstring"
    if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in owner.bases):
        for node in owner.body:
            if isinstance(node, Function) and not is_property(node) and _lacks_docstring(node):
                yield f"{source.at(node)} {owner.name}.{node.name} has no docstring"


def _lacks_docstring(node: Function | ast.ClassDef) -> bool:
    return not node.name.startswith("_") and ast.get_docstring(node) is None


def _words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return set(spaced.lower().split("_"))
