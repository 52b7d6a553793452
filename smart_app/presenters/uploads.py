"""Why an upload was not taken and what to do about it; how many cells the uploads hold together."""

from dataclasses import dataclass

from smart_app.cell_check import CellCheck
from smart_app.drafts import Draft
from smart_app.language import gettext as _


@dataclass(frozen=True)
class Refused:
    """One file that was not taken."""

    name: str
    reason: str
    text: str


def refused(name: str, reason: str) -> Refused:
    """The words for a reason of `smart_app.images` or of the upload page."""
    words = {
        "nothing": _("Choose at least one image, or continue without one"),
        "empty": _("The file is empty: choose it again"),
        "too-large": _("The file is larger than 16 MB: save it as JPEG or crop it"),
        "too-large-together": _("Together the images are too large to be sent: save them as JPEG "
                                "or crop them"),
        "too-many": _("There are already as many images as one assessment can hold"),
        "duplicate": _("This image is already there"),
        "not-an-image": _("This is not an image: choose a JPEG, PNG or TIFF file"),
        "other-format": _("This image format is not accepted: save it as JPEG or PNG"),
        "heic": _("HEIC photos can't be read: set the camera to “Most compatible” (JPEG) and "
                  "take the photo again"),
        "animated": _("Moving images are not accepted: choose a still image"),
        "several": _("The file holds several pictures: export one field of view"),
        "corrupt": _("The file is damaged or incomplete: export it again"),
        "too-many-pixels": _("The image has too many pixels: export one field of view"),
    }  # fmt: skip
    return Refused(name, reason, words[reason])


@dataclass(frozen=True)
class CellCount:
    """Whole cells in all images that would be read, and what an answer about a smear needs."""

    cells: int
    needed: int

    @property
    def missing(self) -> int:
        """How many more cells are needed; 0 when there are enough."""
        return max(0, self.needed - self.cells)


def cell_count(draft: Draft, check: CellCheck | None) -> CellCount | None:
    """The count over a draft's images; None where nobody counts."""
    if check is None:
        return None
    return CellCount(sum(image.cells or 0 for image in draft.images), check.needed)
