"""Why an upload was not taken, and what to do about it."""

from dataclasses import dataclass

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
        "too-many": _("There are already as many images as one assessment can hold"),
        "duplicate": _("This image is already there"),
        "not-an-image": _("This is not an image: choose a JPEG, PNG or TIFF file"),
        "other-format": _("This image format is not accepted: save it as JPEG or PNG"),
        "heic": _("HEIC photos can't be read: set the camera to “Most compatible” (JPEG) and "
                  "take the photo again"),
        "animated": _("Moving images are not accepted: choose a still image"),
        "corrupt": _("The file is damaged or incomplete: export it again"),
        "too-many-pixels": _("The image has too many pixels: export one field of view"),
    }  # fmt: skip
    return Refused(name, reason, words[reason])
