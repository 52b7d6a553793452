"""`medsage import`: bundles and NDJSON into a running server, over FHIR."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.commands.ending import NO_SERVER, fail
from deploy.demo.loading import demo_tokens
from models.fhir_client import CallerToken, FhirFailure, TokenSource

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage import bundles/ more.ndjson --base-url http://localhost:5000"
_HEADERS = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
_LINES_AT_ONCE = 200
_SHOWN_FAILURES = 20


@dataclass
class Tally:
    """What went in, by type, and what did not, by place."""

    resources: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@app.command(epilog=EXAMPLE)
def import_bundles(
    paths: Annotated[list[Path], typer.Argument(help="Files (.json, .ndjson) or folders.")],
    base_url: Annotated[
        str, typer.Option(help="Origin of the running server.")
    ] = "http://localhost:5000",
    token: Annotated[
        str | None, typer.Option(help="Bearer token; the demonstration's own without it.")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
) -> None:
    """Load transaction and batch bundles, collections, single resources and NDJSON."""
    files = [file for path in paths for file in _files(path)]
    if not files:
        fail("no .json or .ndjson file was found")
    tally = asyncio.run(_import(files, base_url.rstrip("/"), token, at_once))
    _show(tally)
    if tally.failures:
        fail(f"{len(tally.failures)} of the requests were refused")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = [each for each in path.rglob("*") if each.suffix in (".json", ".ndjson")]
        # Synthea's bundles refer to the hospitals and practitioners of these two.
        return sorted(found, key=lambda each: ("Information" not in each.name, each.name))
    if not path.is_file():
        fail(f"{path} does not exist")
    return [path]


async def _import(files: Sequence[Path], base_url: str, token: str | None, at_once: int) -> Tally:
    tally, slots = Tally(), asyncio.Semaphore(at_once)
    console = Console(stderr=True)
    async with httpx.AsyncClient(timeout=300, trust_env=False) as http:
        tokens: TokenSource = CallerToken(token) if token else demo_tokens(http, base_url)
        try:
            await tokens.token()
        except FhirFailure as failure:
            fail(f"no token: {failure.text}", NO_SERVER if failure.status == 503 else 1)
        with Progress(console=console) as progress:
            bar = progress.add_task("import", total=len(files))

            async def load(file: Path) -> None:
                async with slots:
                    await _load(http, tokens, base_url, (file, tally))
                    progress.advance(bar)

            first = [file for file in files if "Information" in file.name]
            for file in first:
                await load(file)
            async with asyncio.TaskGroup() as group:
                for file in files[len(first) :]:
                    group.create_task(load(file))
    return tally


async def _load(
    http: httpx.AsyncClient, tokens: TokenSource, base_url: str, into: tuple[Path, Tally]
) -> None:
    file, tally = into
    try:
        for place, body in _bodies(file):
            await _send(http, tokens, f"{base_url}/fhir", (place, body, tally))
    except (ValueError, OSError) as problem:
        tally.failures.append(f"{file}: {problem}")


def _bodies(file: Path) -> Iterator[tuple[str, bytes]]:
    """The transactions of a file, as they are or made of its resources."""
    content = file.read_bytes()
    if file.suffix == ".ndjson":
        lines = [line for line in content.splitlines() if line.strip()]
        for start in range(0, len(lines), _LINES_AT_ONCE):
            yield f"{file}:{start + 1}", _transaction(lines[start : start + _LINES_AT_ONCE])
        return
    resource = json.loads(content)
    kind = resource.get("type") if resource.get("resourceType") == "Bundle" else None
    if kind in ("transaction", "batch"):
        yield str(file), content
    elif kind in ("collection", "searchset"):
        members = [json.dumps(entry["resource"]).encode() for entry in resource.get("entry", ())]
        yield str(file), _transaction(members)
    else:
        yield str(file), _transaction([content])


def _transaction(members: Sequence[bytes]) -> bytes:
    """A transaction that puts each resource under its id, or creates it when it has none; the
    resources' own bytes are kept."""
    entries = []
    for member in members:
        head = json.loads(member)
        type_, id_ = head["resourceType"], head.get("id")
        request = {"method": "PUT", "url": f"{type_}/{id_}"} if id_ else _creation(type_)
        entries.append(b'{"resource":' + member + b',"request":' + _json(request) + b"}")
    return b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join(entries) + b"]}"


def _creation(type_: str) -> dict[str, Any]:
    return {"method": "POST", "url": type_}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


async def _send(
    http: httpx.AsyncClient, tokens: TokenSource, url: str, sent: tuple[str, bytes, Tally]
) -> None:
    place, body, tally = sent
    headers = dict(_HEADERS)
    if (token := await tokens.token()) is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = await http.post(url, content=body, headers=headers)
    except httpx.HTTPError as failure:
        tally.failures.append(f"{place}: {type(failure).__name__}")
        return
    found = answer.json()
    if not answer.is_success:
        tally.failures.append(f"{place}: HTTP {answer.status_code} {_reason(found)}")
        return
    for entry in found.get("entry", ()):
        status = entry["response"]["status"]
        if status.startswith("2"):
            tally.resources[entry["response"].get("location", "?").split("/")[0]] += 1
        else:
            tally.failures.append(f"{place}: {status} {_reason(entry['response'].get('outcome'))}")


def _reason(outcome: dict[str, Any] | None) -> str:
    issues = (outcome or {}).get("issue", ())
    return "; ".join(issue.get("diagnostics", issue["code"]) for issue in issues[:3])


def _show(tally: Tally) -> None:
    table = Table("Type", "Resources")
    for type_, count in sorted(tally.resources.items()):
        table.add_row(type_, str(count))
    table.add_row("all", str(tally.resources.total()), style="bold")
    Console().print(table)
    for failure in tally.failures[:_SHOWN_FAILURES]:
        typer.echo(f"medsage: {failure}", err=True)
