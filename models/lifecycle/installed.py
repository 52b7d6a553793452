"""The versions of models that are on this machine: those that are shipped, and those that the
operator has put beside them (`FOLDER/<model>/<version>/`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from models.ai_systems import AiSystem
from models.card import ModelCard
from models.entry import Entry
from models.port import Model
from models.registry import MODELS

_log = structlog.get_logger("medsage.models")


class NotThatVersion(RuntimeError):
    """What was loaded is another version than the one that was asked for."""


@dataclass(frozen=True)
class Installed:
    """A version whose files belong together, by their hashes."""

    model: str
    entry: Entry
    folder: Path
    card: ModelCard
    is_shipped: bool

    @property
    def system(self) -> AiSystem:
        """The version as an AI system; its key names the hashes of its files."""
        return system_of(self.card, self.entry.kinds)

    @property
    def key(self) -> str:
        return self.system.key

    def load(self) -> Model[Any, Any]:
        """The model, its hashes checked once more; blocking. NotThatVersion when the files have
        become others since."""
        loaded = self.entry.load(self.folder)
        if system_of(loaded.card, self.entry.kinds).key != self.key:
            raise NotThatVersion(f"{self.folder} is no longer {self.key}")
        return loaded


def system_of(card: ModelCard, kinds: tuple[str, ...]) -> AiSystem:
    """A model's version as an AI system; new weights or limits make a new one."""
    hashes = "-".join(card.hashes[name][:12] for name in ("model", "calibration"))
    return AiSystem(
        key=f"{card.id}-{card.version}-{hashes}",
        name=card.name,
        version=card.version,
        kinds=kinds,
        card=card.as_markdown(),
        contact=card.contact,
    )


def installed(folder: Path | None = None, *, demonstrations: bool = False) -> dict[str, Installed]:
    """All versions, by key. A shipped one that is damaged raises RuntimeError; one of the
    operator's is left out, and the log says why: it can then be neither approved nor run."""
    found: dict[str, Installed] = {}
    for model, entry in offered(demonstrations=demonstrations).items():
        shipped = _read(model, entry, entry.weights, is_shipped=True)
        found[shipped.key] = shipped
        for path in _folders(folder, model):
            try:
                version = _read(model, entry, path, is_shipped=False)
            except (RuntimeError, OSError, ValueError) as problem:
                _log.error("version left out", folder=str(path), reason=str(problem))
                continue
            found.setdefault(version.key, version)
    return found


def offered(*, demonstrations: bool) -> Mapping[str, Entry]:
    """The models that may be asked, by name; demonstrations where they are allowed."""
    return {
        name: entry
        for name, entry in MODELS.items()
        if demonstrations or not entry.is_demonstration
    }


def _folders(folder: Path | None, model: str) -> Iterator[Path]:
    if folder is not None and (folder / model).is_dir():
        yield from sorted(path for path in (folder / model).iterdir() if path.is_dir())


def _read(model: str, entry: Entry, folder: Path, *, is_shipped: bool) -> Installed:
    return Installed(model, entry, folder, entry.card(folder), is_shipped)
