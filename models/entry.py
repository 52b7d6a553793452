"""What the table of models says of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.port import Model
from models.spoken import Spoken, SpokenBy


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered model: what it looks for, its card, cheap to read, and how to load it
    (blocking). `card` and `load` take the folder of a version, the shipped `weights` by default;
    they raise RuntimeError when its files do not belong together. `kinds` are AIdeviceTypeCS
    codes. `says` makes of a prediction what a report says; None: the report knows its shape. One
    that `is_demonstration` runs where the setting allows it, and never among clinical inputs.
    """

    condition: str
    weights: Path
    card: Callable[..., ModelCard]
    load: Callable[..., Model[Any, Any]]
    kinds: tuple[str, ...]
    says: Callable[[Any, SpokenBy], Spoken] | None = None
    is_demonstration: bool = False
