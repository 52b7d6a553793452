"""Registered models, their cards, and what a card must say."""

import sys
from subprocess import run

import pytest

from models.registry import MODELS, UnknownModel, entry


def test_every_model_has_a_card_with_uses_limits_and_hashes():
    for name, one in MODELS.items():
        card = one.card()
        assert card.id == name
        assert card.intended_use
        assert card.not_for
        assert card.limits
        assert all(len(value) == 64 for value in card.hashes.values())
        assert card.as_json()["notFor"]
        assert card.as_markdown().startswith("---\nmodel: ")


def test_an_unknown_model_is_refused_naming_those_there_are():
    with pytest.raises(UnknownModel, match="malaria-cell"):
        entry("flu")


def test_the_loaded_model_shows_the_same_card(model):
    assert entry("malaria-cell").card() == model.card


def test_the_registry_loads_neither_tensorflow_nor_opencv_until_asked():
    code = (
        "import sys, models.registry, models.malaria.reading;"
        "assert not {'tensorflow', 'keras', 'cv2', 'numpy'} & set(sys.modules)"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_serving_needs_no_tensorflow():
    code = (
        "import sys; from models.malaria.predict import MalariaModel; MalariaModel.load();"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
