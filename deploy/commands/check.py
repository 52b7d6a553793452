"""`medsage check`: every setting in force, and whether an installation can work with them."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deploy.checks.settings import effective, profile_findings
from deploy.checks.store import store_findings
from deploy.checks.surroundings import surrounding_findings
from deploy.commands.ending import FAILED
from deploy.commands.serve import store_settings
from fhir_server.findings import Finding, worst
from fhir_server.settings import Settings
from fhir_server.system import utc_now

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage check --data data"
SIGNS = {"ok": "ok     ", "warning": "WARNING", "failed": "FAILED ", "unknown": "unknown"}


@app.command(epilog=EXAMPLE)
def check(
    data: Annotated[Path | None, typer.Option(help="Folder of the embedded store.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    server: Annotated[
        bool, typer.Option(help="Ask the server too; an upgrade doesn't ask the one it ends.")
    ] = True,
) -> None:
    """Print every setting in force (secrets masked) and look at connections, index, keys, disk,
    clock and certificates, each with what to do. Ends with 1 when something failed. Servers may
    run; nothing is changed."""
    settings = store_settings(data)
    findings = asyncio.run(_findings(settings, asks_server=server))
    shown = dict(effective(settings))
    if as_json:
        body = {"settings": shown, "findings": [asdict(each) for each in findings]}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        for name, value in shown.items():
            typer.echo(f"{name} = {value}")
        typer.echo("")
        for finding in findings:
            typer.echo(_line(finding))
    if worst(findings) == "failed":
        raise typer.Exit(FAILED)


def _line(finding: Finding) -> str:
    to_do = f"\n         → {finding.to_do}" if finding.to_do else ""
    return f"{SIGNS[finding.state]}  {finding.what}: {finding.found}{to_do}"


async def _findings(settings: Settings, *, asks_server: bool) -> Sequence[Finding]:
    has_store = settings.role != "app"
    return [
        *profile_findings(settings),
        *(await store_findings(settings, utc_now) if has_store else ()),
        *await surrounding_findings(settings, utc_now(), asks_server=asks_server),
    ]
