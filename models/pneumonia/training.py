"""`medsage models train pneumonia`: a tiny network on PneumoniaMNIST, seeded, in a minute."""

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from models.pneumonia.manifest import LITERT, MANIFEST, WEIGHTS
from models.pneumonia.preprocess import SIDE, VERSION, network_input
from models.training.fit import fix_threads
from models.training.metrics import auc, calibration_error, scaling

FILE = "pneumoniamnist_union.npz"
SEED, EPOCHS, BATCH = 20240611, 14, 64
VALIDATION_RATE = 0.03
"""Share of validation images of each kind that may be answered wrongly: sets the thresholds."""
_PERCENTILES = (0.25, 99.75)

Vector = npt.NDArray[np.float64]


def train(data: Path, *, version: str = "1.0.0", weights: Path = WEIGHTS) -> dict[str, float]:
    """Train and write weights and manifest; the figures on the test images."""
    raw = (data / FILE).read_bytes()
    sets = np.load(data / FILE, allow_pickle=False)
    fix_threads()
    model = _fit(sets["train_images"], sets["train_labels"])
    logits = {name: _logits(model, sets[f"{name}_images"]) for name in ("val", "test")}
    truth = {name: sets[f"{name}_labels"] == 1 for name in ("val", "test")}
    temperature, offset = scaling(truth["val"], logits["val"])
    sure = {name: 1 / (1 + np.exp(-(logits[name] + offset) / temperature)) for name in logits}
    ends = (
        float(np.quantile(sure["val"][truth["val"]], VALIDATION_RATE)),
        float(np.quantile(sure["val"][~truth["val"]], 1 - VALIDATION_RATE)),
    )
    low, high = min(ends), max(ends)
    metrics = _metrics(sure["test"], truth["test"], (low, high))
    weights.mkdir(parents=True, exist_ok=True)
    _export(model, weights / LITERT)
    pixels = sets["train_images"].reshape(len(sets["train_images"]), -1).astype(float)
    written: dict[str, Any] = {
        "version": version,
        "preprocessing": VERSION,
        "temperature": temperature,
        "offset": offset,
        "low": low,
        "high": high,
        "brightness": np.percentile(pixels.mean(axis=1), _PERCENTILES).tolist(),
        "contrast": np.percentile(pixels.std(axis=1), _PERCENTILES).tolist(),
        "metrics": metrics,
        "sha256": hashlib.sha256((weights / LITERT).read_bytes()).hexdigest(),
        "data": hashlib.sha256(raw).hexdigest(),
    }
    (weights / MANIFEST).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return metrics


def _fit(images: Any, labels: Any) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    pixels = keras.Input((SIDE, SIDE, 1))
    x = pixels
    for width in (16, 32, 48):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, keras.layers.Dense(1, name="logit")(x), name="pneumonia")
    steps = EPOCHS * (len(images) // BATCH)
    model.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.02),
    )
    shares = {0: 0.5 / np.mean(labels == 0), 1: 0.5 / np.mean(labels == 1)}
    model.fit(
        network_input(images),
        labels.astype(np.float32)[:, None],
        batch_size=BATCH,
        epochs=EPOCHS,
        class_weight=shares,
        verbose=0,
    )
    return model


def _logits(model: keras.Model, images: Any) -> Vector:
    return np.asarray(model.predict(network_input(images), verbose=0)[:, 0], dtype=np.float64)


def _metrics(
    sure: Vector, truth: npt.NDArray[np.bool_], ends: tuple[float, float]
) -> dict[str, float]:
    low, high = ends
    labels = truth.astype(np.uint8)
    return {
        "images": float(len(truth)),
        "AUC": round(auc(labels, sure) or 0.0, 4),
        "sensitivity, suspected": round(float(np.mean(sure[truth] >= high)), 4),
        "specificity, suspected": round(float(np.mean(sure[~truth] < high)), 4),
        "indeterminate": round(float(np.mean((sure >= low) & (sure < high))), 4),
        "ECE": round(calibration_error(labels, sure), 4),
    }


def _export(model: keras.Model, path: Path) -> None:
    signature = [tf.TensorSpec((1, SIDE, SIDE, 1), tf.float32)]
    traced = tf.function(lambda x: model(x, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())
