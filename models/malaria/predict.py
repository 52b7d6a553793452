"""Images of one Task in, one SmearPrediction out: decode, gate, segment, classify, pool.

    model = MalariaModel.load()                      # checks all hashes; raises WeightsMismatch
    prediction = await model.predict([SmearImage(content=..., content_type="image/png")])

Interface (stable):
- `MalariaModel.load(weights: Path | None = None) -> MalariaModel` blocking, once per process
- `model.card -> ModelCard` (models/card.py), `model.version -> ModelVersion`
- `await model.predict(images: Sequence[SmearImage]) -> SmearPrediction` bad images do not raise
- `model.overlay(image: SmearImage, reading: ImageReading) -> bytes` PNG with boxes (blocking)
- `check_image(image: SmearImage) -> Refusal | None` decode check alone (for the upload page and
  for /api/diagnose), blocking, tens of milliseconds
"""

from models.malaria.reading import (
    Box,
    CellAnswer,
    CellReading,
    ImageKind,
    ImageReading,
    ModelVersion,
    Pool,
    Refusal,
    SmearAnswer,
    SmearImage,
    SmearPrediction,
    Thresholds,
)

__all__ = [
    "Box",
    "CellAnswer",
    "CellReading",
    "ImageKind",
    "ImageReading",
    "ModelVersion",
    "Pool",
    "Refusal",
    "SmearAnswer",
    "SmearImage",
    "SmearPrediction",
    "Thresholds",
]
