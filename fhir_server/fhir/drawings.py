"""The FHIR shape of what is drawn of smear images, shared by who draws and who shows it.

Each drawing is a Binary and a Media that names its image (extension `derived-from`), its kind
(`Media.view`) and the Task it was made for (business identifier); the DiagnosticReport names it in
`media` with the extension `drawing`, which tells it from the images that were sent. A gallery says
in the extension `cell`, once for each tile, what was answered about that cell.
"""

from typing import Any

from fhir_server.fhir.assessment import CANONICAL

DERIVED_FROM = f"{CANONICAL}/StructureDefinition/derived-from"
DRAWING = f"{CANONICAL}/StructureDefinition/drawing"
CELL = f"{CANONICAL}/StructureDefinition/cell"
DRAWINGS_OF_TASK = f"{CANONICAL}/identifier/drawings-of-task"

FRAMED, GALLERY, REACTION = "cells-framed", "cell-gallery", "model-reaction"
KINDS = (FRAMED, GALLERY, REACTION)
"""Codes of CodeSystem finding: a field with its cells framed; its cells side by side, the
likeliest parasite first; of those with a parasite likely, where the model reacted."""
TILE, COLUMNS = 64, 10
"""Galleries and reactions: the side of a tile in pixels, and tiles in a row."""


def drawing_of(entry: dict[str, Any]) -> str | None:
    """The kind of drawing that an entry of DiagnosticReport.media names; None for an image that
    was sent."""
    found = (each for each in entry.get("extension", ()) if each["url"] == DRAWING)
    return next((str(each["valueCode"]) for each in found), None)
