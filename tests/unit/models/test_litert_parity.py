"""The LiteRT file that is served answers as the Keras file it was made from."""

# ruff: noqa: E402 - the imports follow the check that they can be made

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras", reason="the train extra (tensorflow) is not installed")
pytest.importorskip("tensorflow", reason="the train extra (tensorflow) is not installed")

from models.malaria.calibration import KERAS, LITERT, WEIGHTS, read_calibration
from models.malaria.classify import Network
from models.malaria.network import build
from models.malaria.preprocess import network_input, views
from models.training.cells import Cells
from models.training.fit import Material, fit
from models.training.recipe import Recipe


@pytest.fixture(scope="module")
def cells(rgb) -> np.ndarray:
    names = [f"parasitized-{n}" for n in range(1, 5)] + ["heavily-parasitized"]
    names += [f"uninfected-{n}" for n in range(1, 6)]
    real = [rgb(f"{name}.png")[..., 0] for name in names]
    noise = np.random.default_rng(0).integers(0, 255, (6, 50, 50), dtype=np.uint8)
    return np.concatenate([np.stack(real), noise])


def test_litert_and_keras_agree_on_every_cell(cells):
    model = keras.models.load_model(WEIGHTS / KERAS)
    eight = views(network_input(cells))
    outputs = [model(view, training=False) for view in eight]
    logits = np.mean([one["logits"] for one in outputs], axis=0)
    gap = np.mean([one["gap"] for one in outputs], axis=0)
    served = Network(WEIGHTS / LITERT).run(cells)
    assert np.abs(served.parasite - logits[:, 0]).max() < 1e-3
    assert np.abs(served.stranger - logits[:, 1]).max() < 1e-3
    assert np.abs(served.gap - gap).max() < 1e-3
    assert ((served.parasite > 0) == (logits[:, 0] > 0)).all()


def test_the_activation_map_adds_up_to_the_logit(cells):
    """Global averaging and one dense layer: the map's mean is the logit less its bias."""
    model = keras.models.load_model(WEIGHTS / KERAS)
    weights, bias = model.get_layer("logits").get_weights()
    calibration = read_calibration()
    assert np.allclose(calibration.activation, weights[:, 0], atol=1e-6)
    network = Network(WEIGHTS / LITERT)
    for cell in cells[:4]:
        seen = (network.features(cell) @ calibration.activation).mean() + bias[0]
        logit = model(network_input(cell[None]), training=False)["logits"][0, 0]
        assert seen == pytest.approx(float(logit), abs=1e-3)


def test_the_activation_map_of_random_weights_is_another(cells):
    """The sanity check of Adebayo et al. 2018."""
    trained = Network(WEIGHTS / LITERT).features(cells[0]) @ read_calibration().activation
    keras.utils.set_random_seed(1)
    fresh = build()
    column = fresh.get_layer("logits").get_weights()[0][:, 0]
    features = fresh(network_input(cells[:1]), training=False)["features"][0]
    random = np.asarray(features) @ column
    assert abs(np.corrcoef(trained.ravel(), random.ravel())[0, 1]) < 0.9


def test_learning_is_deterministic_and_lowers_the_loss(cells):
    patients = np.array([f"P{n}" for n in range(10)])
    material = Material(
        Cells(cells[:10], np.repeat([1, 0], 5).astype(np.uint8), patients),
        foreign=cells[5:10],
        outliers=cells[10:],
    )
    recipe = Recipe(
        epochs=12, cells_per_batch=10, foreign_per_batch=2, outliers_per_batch=4, peak_rate=5e-3
    )
    losses: list[float] = []
    first = fit(material, recipe, lambda done, total, loss: losses.append(loss))
    second = fit(material, recipe, lambda done, total, loss: None)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        assert (one == other).all()
    assert losses[-1] < losses[0]
