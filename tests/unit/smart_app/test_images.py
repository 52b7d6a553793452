"""Uploads are judged by their bytes, and private metadata does not travel."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from smart_app.images import NotAnImage, read_image
from tests.app_records import chunk, png


def encoded(format_name, **options):
    file = io.BytesIO()
    Image.new("RGB", (20, 12), (200, 160, 180)).save(file, format_name, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("format_name", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("TIFF", "image/tiff")],
)
def test_stills_of_the_known_kinds_are_taken(format_name, media_type):
    image = read_image(encoded(format_name))
    assert (image.content_type, image.width, image.height) == (media_type, 20, 12)
    assert Image.open(io.BytesIO(image.content)).size == (20, 12)


def test_exif_and_comments_are_removed_and_the_pixels_stay():
    exif = Image.Exif()
    exif[0x010E] = "Okafor, ward 3"
    content = encoded("JPEG", exif=exif, comment=b"Okafor")
    assert b"Okafor" in content
    cleaned = read_image(content).content
    assert b"Okafor" not in cleaned
    before, after = (Image.open(io.BytesIO(c)).tobytes() for c in (content, cleaned))
    assert before == after
    assert b"ward" not in read_image(png(extra=chunk(b"tEXt", b"a\0ward 3"))).content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<svg/>", "not-an-image"),
        (encoded("GIF"), "other-format"),
        (encoded("WEBP"), "other-format"),
        (encoded("JPEG")[:-100], "corrupt"),
        (encoded("PNG")[:-5], "corrupt"),
        (png(extra=chunk(b"acTL", b"\0" * 8)), "animated"),
        (png(0, 5), "corrupt"),
    ],
)
def test_what_is_no_still_image_is_refused(content, reason):
    with pytest.raises(NotAnImage) as caught:
        read_image(content)
    assert caught.value.reason == reason


def test_a_decompression_bomb_is_refused_by_its_header():
    bomb = bytearray(png())
    header = bytearray(b"\0\1\0\0\0\1\0\0" + bomb[24:29])
    with pytest.raises(NotAnImage) as caught:
        read_image(bytes(bomb[:8]) + chunk(b"IHDR", bytes(header)) + bytes(bomb[33:]))
    assert caught.value.reason == "too-many-pixels"


STARTS = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"MM\0*")


@given(st.sampled_from(STARTS), st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(start, rest):
    try:
        read_image(start + rest)
    except NotAnImage:
        return
