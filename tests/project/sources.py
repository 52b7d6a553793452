"""The project's own Python files, parsed once, for the tests of how they are written."""

import ast
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("fhir_server", "models", "smart_app", "terminology", "deploy", "bench")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One module: `name` is its path from the root, `tree` its syntax."""

    name: str
    text: str
    tree: ast.Module

    @property
    def is_test(self) -> bool:
        """Whether the module lies in tests/."""
        return self.name.startswith("tests/")

    @property
    def lines(self) -> int:
        """The number of its lines."""
        return self.text.count("\n")

    def functions(self) -> list[Function]:
        """Every function and method, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    def classes(self) -> list[ast.ClassDef]:
        """Every class, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    def at(self, node: ast.stmt) -> str:
        """Where a definition stands, as an editor opens it."""
        return f"{self.name}:{node.lineno}"


@cache
def tracked() -> tuple[str, ...]:
    """Every file of the project: what is committed, and what is new and not ignored."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True)
    return tuple(name for name in names.stdout.splitlines() if (ROOT / name).is_file())


@cache
def sources() -> tuple[Source, ...]:
    """All Python modules of the packages and of the tests."""
    folders = (*PACKAGES, "tests")
    names = [n for n in tracked() if n.endswith(".py") and n.split("/")[0] in folders]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in sorted(names)}
    return tuple(Source(name, text, ast.parse(text)) for name, text in texts.items())


def product() -> tuple[Source, ...]:
    """The modules that are shipped: all but the tests."""
    return tuple(source for source in sources() if not source.is_test)


@cache
def texts() -> dict[str, str]:
    """Every file of the project that is text, by name."""
    found = {}
    for name in tracked():
        body = (ROOT / name).read_bytes()
        if b"\0" not in body[:8000]:
            found[name] = body.decode("utf-8", errors="replace")
    return found


def is_property(function: Function) -> bool:
    """Whether a method is read like a field."""
    decorators = function.decorator_list
    return any(isinstance(each, ast.Name) and each.id == "property" for each in decorators)
