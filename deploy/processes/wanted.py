"""The shape that the operator wants: its numbers by options, and its addresses and settings by the
environment or by `.env` beside the checkout."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from dotenv import dotenv_values

from deploy import secret_files
from deploy.processes import plan, roles
from deploy.processes.plan import ROOT, NoShape
from deploy.processes.shape import Shape

Tell = Callable[[str], None]
_DEFAULTS = {"port": 8443, "servers": 2, "workers": 2, "apps": 2}
_BASE_URL = "MEDSAGE_BASE_URL"
_BACKING = (
    ("MEDSAGE_MONGODB_URI", "mongodb", "MongoDB", "medsage_mongodb_uri"),
    ("MEDSAGE_REDIS_URL", "redis", "Redis", "medsage_redis_url"),
)
"""Of what is behind ours: the variable of its address, the part when it is our own, what it is
called, and the secret file with its address."""


def shape(folder: Path, numbers: Mapping[str, int | None], tell: Tell) -> Shape:
    """A new shape in the folder; or the one that is there, with the settings of now, which are
    written down when its parts run with them. NoShape when another one is there. `tell` hears what
    the operator may not have meant."""
    asked = {name: value for name, value in numbers.items() if value is not None}
    named = _named(os.environ)
    given = {name: value for name, value in named.items() if value}
    for name in roles.not_passed_on(given):
        instead = f": write it into {folder / 'secrets' / name.lower()}"
        is_told = f"{name} is set and reaches no part in this form"
        tell(is_told + (instead if roles.is_secret(name) else ""))
    if not plan.is_planned(folder):
        return _planned(folder, _DEFAULTS | asked, given)
    found = production(folder)
    _require_same(found, asked, given)
    return _with_settings(found, named, tell)


def production(folder: Path) -> Shape:
    """The production shape in the folder; NoShape when it holds another or none."""
    found = opened(folder)
    if found.written.is_development:
        raise NoShape(f"{folder} holds a development shape; name another --folder")
    return found


def opened(folder: Path) -> Shape:
    """The shape of any kind, with the secret files that this version knows of; a development shape
    has none."""
    found = Shape.open(folder)
    if not found.written.is_development:
        secret_files.make_empty(found.written.secrets)
    return found


def _named(environ: Mapping[str, str]) -> dict[str, str]:
    """The operator's variables, also those without a value; what stands in `.env` counts less."""
    written = {name: value or "" for name, value in dotenv_values(ROOT / ".env").items()}
    return {**written, **environ}


def _planned(folder: Path, numbers: Mapping[str, int], given: Mapping[str, str]) -> Shape:
    settings = {name: given[name] for name in roles.GIVEN | {_BASE_URL} if name in given}
    url = settings.get(_BASE_URL, "https://")
    if not url.startswith("https://"):
        raise NoShape(f"{_BASE_URL} must begin with https:// and is {url}")
    return Shape.plan(
        folder,
        servers=numbers["servers"],
        workers=numbers["workers"],
        apps=numbers["apps"],
        mongodb=given.get("MEDSAGE_MONGODB_URI"),
        redis=given.get("MEDSAGE_REDIS_URL"),
        port=numbers["port"],
        settings=settings,
    )


def _require_same(found: Shape, asked: Mapping[str, int], given: Mapping[str, str]) -> None:
    written = found.written
    has = {
        "port": written.door("tls"),
        "servers": len(written.of_role("server")),
        "workers": len(written.of_role("worker")),
        "apps": len(written.of_role("app")),
    }
    with_another = "cleanup, which keeps its data, then prod with another"
    for name, value in asked.items():
        if has[name] != value:
            raise NoShape(f"the shape in {written.folder} has --{name} {has[name]}; {with_another}")
    if given.get(_BASE_URL, written.base_url) != written.base_url:
        raise NoShape(
            f"the shape in {written.folder} has {_BASE_URL} {written.base_url}; {with_another}"
        )
    for variable, part, called, file in _BACKING:
        if variable not in given:
            continue
        if part in found.parts:
            raise NoShape(
                f"the shape in {written.folder} has a {called} of its own; cleanup, then prod with"
                f" {variable}, for one that holds the same data"
            )
        if given[variable] != (written.secrets / file).read_text("utf-8").strip():
            raise NoShape(
                f"{variable} is another than in {written.secrets / file}, which counts: write the"
                " new address there, and here too"
            )


def _with_settings(found: Shape, named: Mapping[str, str], tell: Tell) -> Shape:
    before = found.written.settings
    of_now = {name: named[name] for name in roles.GIVEN if name in named}
    settings = {name: value for name, value in {**before, **of_now}.items() if value}
    for name in sorted({*before, *settings}):
        if settings.get(name) != before.get(name):
            tell(f"{name} is another than before")
        elif name in roles.GIVEN and name not in named:
            tell(f"{name} goes on as it was set before; {name}= would take it back")
    return Shape(replace(found.written, settings=settings))
