"""`medsage bench NAME`: one of the benchmarks of `bench/`."""

import json
from typing import Annotated

import typer

from bench.registry import BENCHES
from deploy.commands.ending import FAILED, UNUSABLE, fail

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage bench synthea --json"


@app.command(epilog=EXAMPLE)
def bench(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(BENCHES))}.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="name=value, as the benchmark documents.")
    ] = None,
) -> None:
    """Run a benchmark; figures count only beside the floor of the same run. A proof that fails
    ends with exit code 1."""
    if name not in BENCHES:
        fail(f"no benchmark {name!r}; there are: {', '.join(sorted(BENCHES))}", UNUSABLE)
    pairs = [each.partition("=") for each in option or ()]
    if any(not equals for _, equals, _ in pairs):
        fail("an --option must be name=value", UNUSABLE)
    try:
        found = BENCHES[name]({key: value for key, _, value in pairs})
    except ValueError as problem:
        fail(str(problem), UNUSABLE)
    typer.echo(json.dumps(found) if as_json else json.dumps(found, indent=2))
    if found.get("passed") is False:
        raise typer.Exit(FAILED)
