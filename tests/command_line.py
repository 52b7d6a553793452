"""What is typed behind `medsage`, read as the command would read it, without doing anything."""

from typing import Any

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
