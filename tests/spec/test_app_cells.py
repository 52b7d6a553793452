"""The app says how many cells the uploads hold, before anything is sent."""

from base64 import b64encode
from random import Random

import pytest

from deploy.cell_check import cell_check
from models.malaria.calibration import read_calibration
from smart_app.cell_check import CellCheck, Looked
from tests.app_browser import World, hidden_fields
from tests.app_records import MEDIA, PATIENT, chunk, drawn, png, report, smear_result
from tests.availability import ROOT

IMAGES = ROOT / "deploy/demo/images"


async def look(content: bytes, content_type: str) -> Looked:
    """Wide pictures hold as many cells as they are wide; the others are blurred."""
    width = int.from_bytes(content[16:20])
    return Looked(width, "") if width > 10 else Looked(0, "Out of focus. Focus on the rims.")


@pytest.fixture
def world():
    made = World(cell_check=CellCheck(look, 500))
    made.records.put(PATIENT)
    return made


@pytest.fixture
async def browser(world):
    return world.browser()


async def upload(browser, chart, *contents):
    fields = hidden_fields((await browser.get(f"{chart}images")).text)
    files = [("image", (f"{n}.png", content, "image/png")) for n, content in enumerate(contents)]
    return await browser.post(f"{chart}images", fields, files=files)


async def test_the_form_says_how_many_cells_an_answer_needs_before_any_image_is_there(browser):
    chart = await browser.launch()
    page = (await browser.get(f"{chart}images")).text
    assert "An answer about the smear needs about 500 red cells" in page
    assert "red cells in all images" not in page


async def test_each_image_says_its_cells_and_all_together_how_many_more_are_needed(browser):
    chart = await browser.launch()
    await upload(browser, chart, png(120), png(130))
    page = (await browser.get(f"{chart}images")).text
    assert "120 cells" in page
    assert "130 cells" in page
    for shown in (page, (await browser.get(f"{chart}check")).text):
        assert "About 250 red cells in all images together." in shown
        assert "About 250 more are needed" in shown
    await upload(browser, chart, png(260))
    page = (await browser.get(f"{chart}check")).text
    assert "About 510 red cells" in page
    assert "more are needed" not in page
    assert "Enough for an answer about the smear." in page


async def test_an_image_that_would_be_refused_says_why_and_what_to_do_and_counts_nothing(browser):
    chart = await browser.launch()
    await upload(browser, chart, png(8), png(120))
    page = (await browser.get(f"{chart}images")).text
    assert "Out of focus. Focus on the rims." in page
    assert "0 cells" not in page.replace("120 cells", "")
    assert "About 120 red cells" in page
    assert "Will not be read" in (await browser.get(f"{chart}check")).text


async def test_images_that_are_too_large_together_are_refused_by_name_and_the_others_stay(world):
    browser = world.browser()
    chart = await browser.launch()
    # Random bytes do not shrink: each is nearly as large as one may be.
    big = [png(extra=_noise(190_000, n)) for n in range(3)]
    for content in big[:2]:
        assert (await upload(browser, chart, content)).status_code == 303
    refused = await upload(browser, chart, big[2])
    assert refused.status_code == 422
    assert "Together the images are too large" in refused.text
    assert (await browser.get(f"{chart}images")).text.count("Remove<") == 2


def _noise(length: int, seed: int) -> bytes:
    return chunk(b"iCCP", Random(seed).randbytes(length))


async def test_too_few_cells_lead_back_to_the_form_with_the_images_that_were_sent(world, browser):
    binary = {"resourceType": "Binary", "id": "b1", "contentType": "image/png"}
    for resource in (
        MEDIA,
        {**binary, "data": b64encode(png(120)).decode()},
        smear_result("insufficient", "Insufficient: too few cells"),
        drawn(report("smear")),
    ):
        world.records.put(resource)
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    early = await browser.submit(page, f"{page}/more")
    assert early.headers["location"] == page

    await browser.submit(page, f"{page}/reading", reading="cannot-tell")
    assert "Add images of more fields" in (await browser.get(page)).text
    for _ in range(2):
        assert (await browser.submit(page, f"{page}/more")).status_code == 303
    await upload(browser, chart, png(130))
    form = (await browser.get(f"{chart}images")).text
    assert form.count("Remove<") == 2
    assert "About 250 red cells" in form


async def test_the_served_check_counts_the_cells_of_a_field_and_names_what_it_refuses():
    check = cell_check()
    field = await check.look((IMAGES / "field-1.jpg").read_bytes(), "image/jpeg")
    assert 50 < field.cells < 80
    assert field.refusal == ""
    refused = await check.look((IMAGES / "not-a-smear.png").read_bytes(), "image/png")
    assert refused.cells == 0
    assert "does not look like a stained thin blood film" in refused.refusal
    assert check.needed == read_calibration().cells
