"""fhirpathpy behind the house's interface: reading an expression, evaluating it, and its results.

The engine is called one level below its own front door, so that the functions of
`fhirpath_functions` take the place of its own, and so that results keep their types and places.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from math import inf
from time import monotonic
from typing import Any

from antlr4 import CommonTokenStream, InputStream, ParseTreeWalker
from antlr4.error.ErrorListener import ErrorListener
from fhirpathpy.engine import do_eval
from fhirpathpy.engine.evaluators import evaluators
from fhirpathpy.engine.nodes import FP_Quantity, FP_Type, ResourceNode, TypeInfo
from fhirpathpy.models import models
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

from fhir_server.fhir.codec import Resource
from fhir_server.fhir.fhirpath import FhirPathError, Node, Path
from fhir_server.fhir.fhirpath_functions import EVALUATORS, FUNCTIONS

MODEL: dict[str, Any] = models["r4"]
MOST_CHARACTERS = 10_000
ENVIRONMENT = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
FAMILIES = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}
"""R4's families of variables: `%vs-name`, `%ext-name`."""

Evaluate = Callable[[dict[str, Any], list[Any], dict[str, Any]], Any]


def _until(evaluate: Evaluate) -> Evaluate:
    """The same, unless the time of the whole evaluation has passed."""

    def timed(context: dict[str, Any], parents: list[Any], tree: dict[str, Any]) -> Any:
        if monotonic() > context["until"]:
            raise FhirPathError("the expression takes too long")
        return evaluate(context, parents, tree)

    return timed


# Both are the engine's global tables; this process has no other user of them.
TypeInfo.model = MODEL
evaluators.update({name: _until(each) for name, each in {**evaluators, **EVALUATORS}.items()})


class _Refusing(ErrorListener):  # type: ignore[misc]
    def syntaxError(self, *found: Any) -> None:
        """The parser's report: recognizer, symbol, line, column, message, exception."""
        _, _, line, column, message, _ = found
        raise FhirPathError(f"not FHIRPath at line {line}, column {column + 1}: {message}")


def read(expression: str) -> Path:
    """The expression as a Path; FhirPathError when it is not FHIRPath."""
    if len(expression) > MOST_CHARACTERS:
        raise FhirPathError(f"an expression of more than {MOST_CHARACTERS} characters")
    lexer = FHIRPathLexer(InputStream(expression))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for each in (lexer, parser):
        each.removeErrorListeners()
        each.addErrorListener(_Refusing())
    tree = ASTPathListener()
    try:
        ParseTreeWalker().walk(tree, parser.entireExpression())
    except RecursionError:
        raise FhirPathError("the expression is nested too deeply") from None
    return _Compiled(expression, tree.parentStack[0]["children"][0]["children"][0])


class _Environment(dict[str, Any]):
    """The variables of one evaluation, the families among them."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith(tuple(FAMILIES))

    def __missing__(self, name: str) -> str:
        family = next(each for each in FAMILIES if name.startswith(each))
        return FAMILIES[family] + name.removeprefix(family)


class _Compiled:
    def __init__(self, expression: str, tree: dict[str, Any]) -> None:
        self._expression = expression
        self._tree = tree

    @property
    def functions(self) -> frozenset[str]:
        """See `Path.functions`."""
        return frozenset(_called(self._tree))

    def values(
        self,
        resource: Resource,
        variables: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
    ) -> list[Any]:
        """See `Path.values`."""
        return [each.value for each in self.nodes(resource, variables, now=now)]

    def nodes(
        self,
        resource: Resource | Node,
        variables: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
        until: float = inf,
    ) -> list[Node]:
        """See `Path.nodes`."""
        root: list[Any] = [resource]
        if isinstance(resource, Node):
            root = [ResourceNode(resource.value, resource.path, None, resource.place)]
        own = dict.fromkeys(("resource", "rootResource", "context"), root[0])
        context = {
            "dataRoot": root,
            "vars": _Environment({**ENVIRONMENT, **own, **(variables or {})}),
            "model": MODEL,
            "userInvocationTable": FUNCTIONS,
            "now": now,
            "until": until,
        }
        try:
            found = do_eval(context, root, self._tree)
        except FhirPathError:
            raise
        except Exception as failure:
            # The engine raises bare Exceptions, and trips over types it does not expect.
            raise FhirPathError(f"{self._expression}: {failure}") from failure
        nodes = [_node(each) for each in found]
        return [each for each in nodes if each.value is not None]


def _called(tree: dict[str, Any]) -> Iterator[str]:
    """The names of the functions in a syntax tree."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        nodes.extend(node.get("children", ()))
        if node["type"] == "Functn":
            yield node["children"][0]["text"].strip("`")


def _node(found: Any) -> Node:
    if isinstance(found, ResourceNode):
        kind = found.get_type_info()
        return Node(found.data, kind.name if kind else None, found.propName, found.path)
    return Node(*_computed(found))


def _computed(found: Any) -> tuple[Any, str | None]:
    if isinstance(found, FP_Quantity):
        return {"value": found.value, "unit": found.unit}, "Quantity"
    if isinstance(found, FP_Type):
        return str(found), TypeInfo.from_value(found).name
    if isinstance(found, float):  # the engine divides integers so
        return Decimal(str(found)), "Decimal"
    if isinstance(found, dict) and "resourceType" in found:
        return found, found["resourceType"]
    return found, TypeInfo.from_value(found).name
