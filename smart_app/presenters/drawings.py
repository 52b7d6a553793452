"""What the AI drew of the images of a report: cells framed, galleries, reactions.

A score is never shown bare: beside a cell stands its answer in words, and how validation cells
scored alike turned out where that is known. Indeterminate and refused cells show no score at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.drawings import (
    CELL,
    COLUMNS,
    DERIVED_FROM,
    FRAMED,
    GALLERY,
    REACTION,
    TILE,
)
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import code_in, show_number

NOTABLE = frozenset({"parasite-likely", "indeterminate"})
SCORED = frozenset({"parasite-likely", "not-seen"})


@dataclass(frozen=True)
class Tile:
    """One cell of a gallery: its number there and in the framed field, where its tile lies on the
    sheet (pixels), and what was answered. `score` and `like` are empty where nothing is said."""

    number: int
    x: int
    y: int
    answer: str
    words: str
    reason: str
    like: str
    score: str
    place: str

    @property
    def text(self) -> str:
        """What stands for the picture."""
        said = _("Cell %(n)s: %(words)s") % {"n": self.number, "words": self.words}
        return f"{said}. {self.reason}" if self.reason else said


@dataclass(frozen=True)
class ImageDrawings:
    """The drawings of one image of the report, by Media id; `sheet` is the gallery's size in
    pixels. None for what was not drawn."""

    number: int
    framed: str | None
    gallery: str | None
    reaction: str | None
    sheet: tuple[int, int]
    tiles: tuple[Tile, ...]

    @property
    def notable(self) -> tuple[Tile, ...]:
        """The cells to look at first."""
        return tuple(tile for tile in self.tiles if tile.answer in NOTABLE)


def image_drawings(drawn: Sequence[Resource], images: Sequence[str]) -> tuple[ImageDrawings, ...]:
    """The drawings (Media) by the image they are derived from; `images` are the ids of the Media
    that were sent, in order. Images without a drawing are left out."""
    by_image: dict[str, dict[str, Resource]] = {}
    for media in drawn:
        kind = code_in(media.get("view"), FINDINGS) or ""
        by_image.setdefault(_origin(media), {})[kind] = media
    return tuple(
        _of_image(number, by_image[image])
        for number, image in enumerate(images, start=1)
        if image in by_image
    )


def answer_words(answer: str) -> str:
    """What was answered about a cell, in words; an unknown code as it came."""
    words = {
        "parasite-likely": _("Parasite likely"),
        "indeterminate": _("Indeterminate"),
        "not-seen": _("Not seen in this cell"),
        "refused": _("Refused, not counted"),
    }
    return words.get(answer, answer)


def reason_words(check: str) -> str:
    """Why a cell was refused, in words; an unknown check as it came."""
    words = {
        "cut-off": _("Cut off by the edge of the image"),
        "cell-shape": _("Outline or brightness unlike a red cell"),
        "not-a-red-cell": _("A white cell, a platelet, stain or several cells together"),
        "unlike-training": _("Too different from the cells that the model learnt from"),
    }
    return words.get(check, check)


def _origin(media: Resource) -> str:
    found = (e for e in media.get("extension", ()) if e.get("url") == DERIVED_FROM)
    reference = next((e["valueReference"].get("reference", "") for e in found), "")
    return str(reference.split("/_history/")[0].rpartition("/")[2])


def _of_image(number: int, drawn: Mapping[str, Resource]) -> ImageDrawings:
    gallery = drawn.get(GALLERY, {})
    cells = [e for e in gallery.get("extension", ()) if e.get("url") == CELL]
    return ImageDrawings(
        number=number,
        framed=drawn.get(FRAMED, {}).get("id"),
        gallery=gallery.get("id"),
        reaction=drawn.get(REACTION, {}).get("id"),
        sheet=(gallery.get("width", 0), gallery.get("height", 0)),
        tiles=tuple(_tile(place, cell) for place, cell in enumerate(cells)),
    )


def _tile(place: int, cell: Resource) -> Tile:
    parts: dict[str, Any] = {
        part["url"]: next((v for name, v in part.items() if name.startswith("value")), "")
        for part in cell.get("extension", ())
    }
    answer = str(parts.get("answer", ""))
    is_scored = answer in SCORED
    return Tile(
        number=place + 1,
        x=place % COLUMNS * TILE,
        y=place // COLUMNS * TILE,
        answer=answer,
        words=answer_words(answer),
        reason=reason_words(str(parts["check"])) if "check" in parts else "",
        like=_like(parts["like-scored"]) if is_scored and "like-scored" in parts else "",
        score=show_number(parts["probability"]) if is_scored and "probability" in parts else "",
        place=str(parts.get("box", "")),
    )


def _like(ratio: Resource) -> str:
    return _("of %(cells)s validation cells scored like this, %(positive)s held a parasite") % {
        "cells": ratio.get("denominator", {}).get("value", "?"),
        "positive": ratio.get("numerator", {}).get("value", "?"),
    }
