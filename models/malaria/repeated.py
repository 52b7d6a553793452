"""Pictures that came before in the same Task: counted again, one field would answer for a film."""

from dataclasses import dataclass, field

import numpy as np

from models.malaria.preprocess import Pixels, cell_pixels
from models.malaria.reading import Refusal

NEARLY_THE_SAME = 25.0
"""Mean squared difference of two pictures, each squeezed to 50x50 greys. A field that was saved
again or reduced stays below 1; no two of the 27,558 NIH cells are so near, and distinct fields of
BCCD differ by 200 and more."""


@dataclass
class Pictures:
    """The pictures of one Task that were read so far, small, by their number from 0."""

    read: dict[int, Pixels] = field(default_factory=dict)

    def add(self, number: int, rgb: Pixels) -> None:
        """This one is counted."""
        self.read[number] = cell_pixels(rgb)

    def repeated(self, rgb: Pixels) -> Refusal | None:
        """Why this picture is not counted; None when it is a new one. Turned copies and
        photographs that overlap in part are not noticed."""
        small = cell_pixels(rgb).astype(np.float32)
        for number, known in self.read.items():
            if float(np.mean((small - known) ** 2)) < NEARLY_THE_SAME:
                return Refusal(
                    "repeated",
                    f"It is the same picture as image {number + 1}, whose cells are counted.",
                    "Send each field once; take further ones from other parts of the film.",
                )
        return None
