"""Sizes of modules, functions and classes, each as a list of what is too large."""

import ast
from collections.abc import Iterator

from tests.project.sources import Function, Source, is_property

MODULE_LINES = 500
TEST_MODULE_LINES = 600
FUNCTION_LINES = 60
PARAMETERS = 5
PUBLIC_METHODS = 8
# The one port that is larger: reads, units, records, feed and journal of a store belong together.
STORAGE_PORT = dict.fromkeys(
    (
        *("ResourceStore", "GuardedStore", "SqliteStore", "MongoStore", "MeasuredStore"),
        *("Transaction", "GuardedTransaction", "SqliteTransaction", "MongoTransaction"),
    ),
    16,
)
NESTING = 3

# What goes beyond a limit, and why that was thought better than to keep it.
EXPLAINED = {
    "fhir_server/search/extract.py descend": "runs for each element of each write: no calls more",
    "fhir_server/search/extract.py gather": "runs for each element of each write: no calls more",
    "fhir_server/audit/journal.py entry": "the facts of one audit record, all by keyword",
    "fhir_server/app.py create_server": "composes the server out of ports and values",
    "fhir_server/security/authorization/app.py authorization_server": "composes; two are defaults",
    "fhir_server/security/authorization/issue.py token_response": "what a token says, by keyword",
    "fhir_server/security/authorization/server.py journal_refusal": "the client is mostly unknown",
    "deploy/processes/shape.py plan": "what an operator decides of a shape, by keyword",
    "deploy/simulated_ehr/app.py create_simulated_ehr": "composes; three are defaults",
}
# The parameters of a command are its options.
COMMANDS = ("deploy/commands/", "deploy/processes/verbs.py")

# What decides; a `with` around it does not.
_NESTS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match)


def too_long(source: Source) -> Iterator[str]:
    """The module, when it has more lines than one reads at once."""
    limit = TEST_MODULE_LINES if source.is_test else MODULE_LINES
    if source.lines > limit:
        yield f"{source.name} has {source.lines} lines"


def oversized(source: Source) -> Iterator[tuple[str, str]]:
    """Functions with too many lines, parameters or levels: a name that stays when lines move,
    and what is too large."""
    for function in source.functions():
        name, at = f"{source.name} {function.name}", f"{source.at(function)} {function.name}"
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES:
            yield name, f"{at} has {lines} lines"
        parameters = len(_parameters(function))
        if parameters > PARAMETERS and not source.name.startswith(COMMANDS):
            yield name, f"{at} has {parameters} parameters"
        depth = max((_depth(node) for node in function.body), default=0)
        if depth > NESTING:
            yield name, f"{at} nests {depth} deep"


def unexplained(source: Source) -> Iterator[str]:
    """What is too large and has no reason for it here."""
    yield from (text for name, text in oversized(source) if name not in EXPLAINED)


def too_many_methods(source: Source) -> Iterator[str]:
    """Classes that do more than one thing; doubles in tests have the methods of what they play."""
    if source.is_test:
        return
    for each in source.classes():
        count = sum(isinstance(node, Function) and _is_called(node) for node in each.body)
        if count > STORAGE_PORT.get(each.name, PUBLIC_METHODS):
            yield f"{source.at(each)} {each.name} has {count} public methods"


def _is_called(method: Function) -> bool:
    if method.name.startswith("_") or is_property(method):
        return False
    decorators = method.decorator_list
    return not any(isinstance(each, ast.Name) and each.id == "classmethod" for each in decorators)


def _parameters(function: Function) -> list[str]:
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in {"self", "cls"}]


def _depth(node: ast.AST, is_elif: bool = False) -> int:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return 0
    below = 0
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        chained = field == "orelse" and len(children) == 1 and isinstance(node, ast.If)
        for child in children:
            if isinstance(child, ast.AST):
                below = max(below, _depth(child, chained and isinstance(child, ast.If)))
    return below + (isinstance(node, _NESTS) and not is_elif)
