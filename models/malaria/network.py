"""The network: a small convolutional net that ends in global average pooling and one dense layer.

Input (n, 50, 50, 1) in 0..1. Outputs: `logits` (n, 2), the first for "parasite in this cell", the
second for "not a red cell"; `features` (n, 6, 6, 96), whose sum weighted by the first dense column
is the class-activation map; `gap` (n, 96), the vector whose distance from the training cells is
measured. TensorFlow is imported here and in training, never when serving.
"""

from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from models.malaria.preprocess import SIDE

WIDTHS = ((16,), (32, 32), (64, 64), (96, 96))


def build() -> keras.Model:
    """A fresh network with 209 thousand weights; seed Keras first."""
    cells = keras.Input((SIDE, SIDE, 1), name="cells")
    x = cells
    for number, stage in enumerate(WIDTHS):
        if number:
            x = keras.layers.MaxPooling2D()(x)
        for width in stage:
            x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            x = keras.layers.BatchNormalization()(x)
            x = keras.layers.ReLU()(x)
    features = keras.layers.Identity(name="features")(x)
    gap = keras.layers.GlobalAveragePooling2D(name="gap")(features)
    dropped = keras.layers.Dropout(0.3)(gap)
    logits = keras.layers.Dense(2, name="logits")(dropped)
    return keras.Model(cells, {"logits": logits, "features": features, "gap": gap}, name="malaria")


def export_litert(model: keras.Model, path: Path) -> None:
    """Write the LiteRT file that is served: the same three outputs, one cell or many at a time."""

    def outputs(cells: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(model(cells, training=False))

    signature = [tf.TensorSpec((None, SIDE, SIDE, 1), tf.float32, name="cells")]
    traced = tf.function(outputs, input_signature=signature).get_concrete_function()
    # Weights become constants, else the converter keeps them as variables and cannot fuse them.
    frozen = convert_variables_to_constants_v2(traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    path.write_bytes(converter.convert())
