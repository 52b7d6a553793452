"""How commands end: one line on stderr that says why, and a documented exit code."""

from typing import NoReturn

import typer

FAILED, UNUSABLE, NO_SERVER = 1, 2, 3


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Write the reason to stderr and end."""
    typer.echo(f"medsage: {text}", err=True)
    raise typer.Exit(code)
