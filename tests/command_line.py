"""What is typed behind `medsage`, read as the command would read it, without doing anything."""

from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from deploy.cli import app


def assert_command(arguments: list[str]) -> None:
    """TyperException when there is no such command, or when it has no such option."""
    _follow(typer.main.get_command(app), "medsage", arguments)


def _follow(found: Any, name: str, arguments: list[str]) -> None:
    if not isinstance(found, TyperGroup):
        found.make_context(name, list(arguments))
        return
    context = found.context_class(found, info_name=name)
    word, inner, rest = found.resolve_command(context, list(arguments))
    _follow(inner, word or "", rest)


def require_command(words: list[str], of: typer.Typer = app) -> None:
    """The words lead to a command, and its options are options of it."""
    command: Any = typer.main.get_command(of)
    rest = list(words)
    while hasattr(command, "get_command") and rest and rest[0][:1].islower():
        found = command.get_command(None, rest[0])
        assert found is not None, f"medsage {' '.join(words)}: there is no {rest[0]}"
        command = found
        rest.pop(0)
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for word in rest:
        if word.startswith("--"):
            assert word in known | {"--help"}, f"medsage {' '.join(words)}: no {word}"
