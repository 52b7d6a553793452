"""The `medsage` command.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or unusable settings, 3 no server answers.
A command's modules are imported when it is asked for, so that light commands start at once.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

COMMANDS: Mapping[str, str] = {
    "serve": "deploy.commands.serve",
    "demo": "deploy.commands.demo",
    "import": "deploy.commands.importing",
    "bench": "deploy.commands.bench",
    "models": "deploy.commands.models",
    "user": "deploy.commands.user",
    "client": "deploy.commands.client",
    "keys": "deploy.commands.keys",
    "issuer": "deploy.commands.issuer",
    "reindex": "deploy.commands.reindex",
    "migrate": "deploy.commands.migrate",
    "encryption": "deploy.commands.encryption",
    "policy": "deploy.commands.policy",
    "patient": "deploy.commands.patient",
    "audit": "deploy.commands.audit",
    "check": "deploy.commands.check",
    "backup": "deploy.commands.backup",
    "dev": "deploy.commands.dev",
}
"""Name → the module whose `app` it is."""
GROUPS = frozenset(
    {
        "models",
        "user",
        "client",
        "keys",
        "issuer",
        "encryption",
        "policy",
        "patient",
        "audit",
        "backup",
        "dev",
    }
)
"""Those that have commands of their own."""


class _Commands(TyperGroup):
    """The commands of the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        found = import_module(COMMANDS[cmd_name]).app
        command = get_group(found) if cmd_name in GROUPS else get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="medsage",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def medsage() -> None:
    """FHIR R4 server and SMART app: smear image in, signed report out."""


def main() -> None:
    """Entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
