"""One training run of the malaria network: seeded, on the training patients and nothing else."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from models.malaria.network import build
from models.malaria.preprocess import Floats, Pixels
from models.training.augment import augment
from models.training.cells import Cells
from models.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from; all of it from training patients and training fields."""

    cells: Cells
    foreign: Pixels
    outliers: Pixels


@dataclass(frozen=True, slots=True)
class Batch:
    """Cells of one training step, with an answer and a weight for each."""

    x: Floats
    parasite: Floats
    stranger: Floats
    weight: Floats
    """0 where the parasite question makes no sense."""


Progress = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and the running loss."""


def fix_threads() -> None:
    """One thread: sums are added in one order, and several networks learn faster side by side."""
    with suppress(RuntimeError):  # TensorFlow has started already, with the threads it has
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def fit(material: Material, recipe: Recipe, progress: Progress) -> keras.Model:
    """Train a fresh network; the last weights count, nothing is picked by looking."""
    keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    model = build()
    steps = recipe.epochs * (len(material.cells) // recipe.cells_per_batch)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.peak_rate / 20,
        decay_steps=steps - steps // 20,
        warmup_target=recipe.peak_rate,
        warmup_steps=steps // 20,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    step = _step(model, optimizer, recipe)
    running = 0.0
    for number, batch in enumerate(_ahead(_batches(material, recipe)), start=1):
        loss = float(step(batch.x, batch.parasite, batch.stranger, batch.weight))
        running = loss if number == 1 else 0.98 * running + 0.02 * loss
        progress(number, steps, running)
    return model


def _step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: Recipe
) -> Callable[..., tf.Tensor]:
    def step(
        x: tf.Tensor, parasite: tf.Tensor, stranger: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(x, training=True)["logits"]
            loss = _loss(logits[:, 0], parasite, weight, recipe.smoothing)
            everyone = tf.ones_like(weight)
            loss += recipe.reject_weight * _loss(logits[:, 1], stranger, everyone, 0.0)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    compiled: Callable[..., tf.Tensor] = tf.function(step, reduce_retracing=True)
    return compiled


def _loss(logit: tf.Tensor, truth: tf.Tensor, weight: tf.Tensor, smoothing: float) -> tf.Tensor:
    soft = truth * (1.0 - smoothing) + smoothing / 2.0
    each = tf.nn.sigmoid_cross_entropy_with_logits(soft, logit)
    return tf.reduce_sum(each * weight) / tf.reduce_sum(weight)


def _batches(material: Material, recipe: Recipe) -> Iterator[Batch]:
    chance = np.random.default_rng(recipe.seed)
    cells, size = material.cells, recipe.cells_per_batch
    for _ in range(recipe.epochs):
        order = chance.permutation(len(cells))
        for start in range(0, len(order) - size + 1, size):
            own = order[start : start + size]
            foreign = chance.integers(len(material.foreign), size=recipe.foreign_per_batch)
            strange = chance.integers(len(material.outliers), size=recipe.outliers_per_batch)
            pixels = (cells.x[own], material.foreign[foreign], material.outliers[strange])
            kinds = np.repeat([0, 1, 2], [len(part) for part in pixels])
            parasite = np.zeros(len(kinds), np.float32)
            parasite[: len(own)] = cells.y[own]
            yield Batch(
                x=augment(np.concatenate(pixels), chance),
                parasite=parasite,
                stranger=(kinds == 2).astype(np.float32),
                weight=(kinds != 2).astype(np.float32),
            )


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, the next one being made while the present one is learnt."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
