"""What is drawn of the images of one Task: fields with cells framed, galleries, reactions.

Each image is drawn as it is read, so that no picture is held longer than the next one needs; of
what looks like a parasite the crops stay until the answer is known, because a reaction is shown
with the answer *parasites suspected* alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.malaria.classify import Classifier
from models.malaria.fields import FieldCell
from models.malaria.gallery import Pair, cell_tile, in_order, is_likely, reaction_tile, sheet
from models.malaria.overlay import as_jpeg, draw_cells
from models.malaria.preprocess import Pixels, cell_pixels
from models.malaria.reading import CellReading, Drawing, ImageKind, SmearAnswer, ViewKind

MOST_BYTES = 24 * 1024 * 1024
"""Of all drawings of a Task: they travel in one transaction, in base64, beside the results."""


@dataclass
class Album:
    """Add the images one by one, then ask for `finished`."""

    classifier: Classifier
    most_bytes: int = MOST_BYTES
    undrawn: int = 0
    """Images for whose drawings there was no room."""
    _drawings: list[Drawing] = field(default_factory=list)
    _likely: list[tuple[int, list[FieldCell]]] = field(default_factory=list)

    def add(self, image: int, kind: ImageKind, rgb: Pixels, pairs: Sequence[Pair]) -> None:
        """Draw an image (its number in the Task, from 0) that was read: its upright pixels, and
        each cell's reading with its crop."""
        ordered = in_order(pairs)
        readings = tuple(reading for reading, _ in ordered)
        tiles = sheet([cell_tile(cell) for _, cell in ordered])
        made = [_drawing(image, ViewKind.GALLERY, tiles, readings)]
        if kind is ImageKind.FIELD:
            made.append(_drawing(image, ViewKind.FRAMED, draw_cells(rgb, readings)))
        if sum(len(one.content) for one in (*self._drawings, *made)) > self.most_bytes:
            self.undrawn += 1
            return
        self._drawings += made
        if likely := [cell for reading, cell in ordered if is_likely(reading)]:
            self._likely.append((image, likely))

    def finished(self, answer: SmearAnswer) -> tuple[Drawing, ...]:
        """All drawings, those of an image together; reactions only where parasites are
        suspected."""
        if answer is SmearAnswer.SUSPECTED:
            self._drawings += [self._reactions(image, cells) for image, cells in self._likely]
        return tuple(sorted(self._drawings, key=lambda one: (one.image, one.kind)))

    def _reactions(self, image: int, cells: Sequence[FieldCell]) -> Drawing:
        tiles = [
            reaction_tile(cell, self.classifier.activation(cell_pixels(cell.crop)))
            for cell in cells
        ]
        return _drawing(image, ViewKind.REACTION, sheet(tiles))


def _drawing(
    image: int, kind: ViewKind, rgb: Pixels, cells: tuple[CellReading, ...] = ()
) -> Drawing:
    return Drawing(image, kind, as_jpeg(rgb), rgb.shape[1], rgb.shape[0], cells)
