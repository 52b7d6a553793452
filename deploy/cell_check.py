"""The app's look at uploads, done by the image model's gate: no cell is classified for it."""

import asyncio

from models.malaria.calibration import read_calibration
from models.malaria.predict import inspect_image
from models.malaria.reading import SmearImage
from smart_app.cell_check import CellCheck, Looked


def cell_check() -> CellCheck:
    """The check with the number of cells that the served weights ask for."""
    return CellCheck(_look, read_calibration().cells)


async def _look(content: bytes, content_type: str) -> Looked:
    checked = await asyncio.to_thread(inspect_image, SmearImage(content, content_type))
    refusal = checked.refusal
    return Looked(checked.cells, f"{refusal.text} {refusal.advice}" if refusal else "")
