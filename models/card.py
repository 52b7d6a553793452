"""A model's card: what it is for and not for, its data, metrics, thresholds, limits and hashes."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One version of one model, as served at `/models` and linked from its FHIR Device."""

    id: str
    name: str
    version: str
    summary: str
    intended_use: str
    users: str
    not_for: tuple[str, ...]
    training_data: str
    consent: str
    licence: str
    contact: str
    limits: tuple[str, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    """On patients that were neither trained nor tuned on."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain values for `/models`."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "intendedUse": self.intended_use,
            "users": self.users,
            "notFor": list(self.not_for),
            "trainingData": self.training_data,
            "consent": self.consent,
            "licence": self.licence,
            "contact": self.contact,
            "limits": list(self.limits),
            "metrics": dict(self.metrics),
            "thresholds": dict(self.thresholds),
            "hashes": dict(self.hashes),
        }

    def as_markdown(self) -> str:
        """The card as text, with a YAML head, for a DocumentReference."""
        head = f"---\nmodel: {self.id}\nversion: {self.version}\nlicense: {self.licence}\n---\n"
        parts = [
            f"# {self.name} {self.version}",
            self.summary,
            f"**Intended use.** {self.intended_use}",
            f"**Users.** {self.users}",
            "**Not for**\n\n" + _list(self.not_for),
            f"**Training data.** {self.training_data}",
            f"**Consent.** {self.consent}",
            "**Limits**\n\n" + _list(self.limits),
            _table("Metrics on unseen patients", self.metrics),
            _table("Thresholds", self.thresholds),
            "**Hashes (SHA-256)**\n\n"
            + _list(tuple(f"{k}: `{v}`" for k, v in self.hashes.items())),
            f"**Contact.** {self.contact}",
        ]
        return head + "\n" + "\n\n".join(parts) + "\n"


def read_card(
    path: Path,
    *,
    identity: tuple[str, str] | None = None,
    metrics: Mapping[str, float],
    thresholds: Mapping[str, float],
    hashes: Mapping[str, str],
) -> ModelCard:
    """The card of a TOML file completed with what was measured, and with id and version if given.

    A key that the card does not know, or lacks, raises TypeError.
    """
    text = tomllib.loads(path.read_text(encoding="utf-8"))
    for key in ("not_for", "limits"):
        text[key] = tuple(text.get(key, ()))
    if identity is not None:
        text["id"], text["version"] = identity
    return ModelCard(**text, metrics=metrics, thresholds=thresholds, hashes=hashes)


def _list(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(title: str, values: Mapping[str, float]) -> str:
    rows = "\n".join(f"| {name} | {value:g} |" for name, value in values.items())
    return f"**{title}**\n\n| | |\n|---|---|\n{rows}"
