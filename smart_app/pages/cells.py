"""The cells of one image of a report, each with the AI's answer; after the own reading alone."""

from starlette.responses import Response

from smart_app.charts import load_banner, load_drawings, load_report
from smart_app.pages.review import shows_result
from smart_app.problems import Problem
from smart_app.visit import Visit


async def show(visit: Visit) -> Response:
    """The whole gallery of one image; before the own reading, the report's page instead."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not await shows_result(visit, loaded):
        return visit.see(f"reports/{loaded.view.id}")
    number = visit.request.path_params["image"]
    drawings = await load_drawings(visit, loaded)
    drawn = next((each for each in drawings if str(each.number) == number), None)
    if drawn is None or drawn.gallery is None:
        raise Problem("not-found")
    banner = await load_banner(visit)
    return await visit.page("cells.html", banner=banner, report=loaded.view, drawn=drawn)
