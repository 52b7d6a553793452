"""The card of the symptom analysis, and the AI system that an analysis is ascribed to."""

import re
from functools import cache
from pathlib import Path

from models.ai_systems import AiSystem
from models.card import ModelCard, read_card
from models.code_version import rules_sha256
from models.symptoms import rules
from models.symptoms.port import Analysis

_FOLDER = Path(__file__).parent


@cache
def symptom_card() -> ModelCard:
    """The card; its hash is over the rules and their tables as they lie here, so a change of
    either shows."""
    return read_card(
        _FOLDER / "card.toml",
        identity=("symptom-rules", rules.VERSION),
        metrics={},
        thresholds={},
        hashes={"rules": rules_sha256()},
    )


def symptom_system(analysis: Analysis, card: ModelCard) -> AiSystem:
    """The system that made this very analysis: the rules alone, or joined by a language model."""
    has_language_model = analysis.model_use is not None
    kinds = ("Rule-Based-Systems", *(("Large-Language-Models",) if has_language_model else ()))
    origin = re.sub(r"[^a-z0-9.]+", "-", analysis.origin.casefold()).strip("-")
    return AiSystem(
        key=f"{origin}-{card.hashes['rules'][:12]}",
        name=analysis.origin,
        version=card.version,
        kinds=kinds,
        card=card.as_markdown(),
        contact=card.contact,
    )
