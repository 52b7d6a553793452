"""S6: smear images, judged by their bytes here and by their content in the worker."""

import base64
import hashlib

from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.responses import Response

from smart_app.charts import load_banner, load_report
from smart_app.drafts import DraftImage
from smart_app.fhir_client import Resource
from smart_app.headers import IMAGE_HEADERS
from smart_app.images import NotAnImage, read_image
from smart_app.pages.review import shows_result
from smart_app.presenters.uploads import Refused, cell_count, refused
from smart_app.problems import Problem
from smart_app.refusals import audit_refusal
from smart_app.visit import Visit

SHOWN_TYPES = frozenset({"image/png", "image/jpeg"})


async def show(visit: Visit) -> Response:
    """The images so far, and the form for more."""
    return await _page(visit, ())


async def upload(visit: Visit) -> Response:
    """Take the files that can be taken; the others are named with the reason."""
    files = [f for f in visit.form.getlist("image") if isinstance(f, UploadFile) and f.filename]
    problems = [problem for file in files if (problem := await _take(visit, file))]
    if not files and visit.text("next") != "check":
        problems.append(refused("", "nothing"))
    if problems:
        response = await _page(visit, tuple(problems))
        reasons = ", ".join(sorted({problem.reason for problem in problems}))
        cause = f"image refused: {reasons}"
        if files:
            response.background = BackgroundTask(audit_refusal, visit.parts, visit.request, cause)
        return response
    return visit.see("check" if visit.text("next") == "check" else "images")


async def remove(visit: Visit) -> Response:
    """Take one image out of the draft."""
    draft = await visit.drafts.intake(visit.parts.new_id())
    await visit.drafts.remove_image(draft, visit.text("image"))
    return visit.see("images")


async def draft_content(visit: Visit) -> Response:
    """The bytes of an image that was not sent yet."""
    draft = await visit.drafts.intake(visit.parts.new_id())
    wanted = visit.request.path_params["image"]
    image = next((i for i in draft.images if i.id == wanted), None)
    content = await visit.drafts.content(wanted) if image else None
    if image is None or content is None:
        raise Problem("not-found")
    return Response(content, media_type=image.content_type, headers=dict(IMAGE_HEADERS))


async def media_content(visit: Visit) -> Response:
    """The bytes of a stored image of this chart."""
    media = await visit.own("Media", visit.request.path_params["media"])
    kind = media["content"].get("contentType")
    if kind not in SHOWN_TYPES:
        raise Problem("not-found")
    content = await _stored_bytes(visit, media)
    return Response(content, media_type=kind, headers=dict(IMAGE_HEADERS))


async def add_more(visit: Visit) -> Response:
    """The images of a report in the draft again, so that more fields can be counted with them;
    what has been there already, or no longer fits, is not taken twice."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not await shows_result(visit, loaded):
        return visit.see(f"reports/{loaded.view.id}")
    for image in loaded.view.images:
        media = await visit.own("Media", image.media)
        await _keep(visit, await _stored_bytes(visit, media))
    return visit.see("images")


async def _stored_bytes(visit: Visit, media: Resource) -> bytes:
    content = media["content"]
    if "data" in content:
        return base64.b64decode(content["data"])
    type_, id_ = visit.fhir.key(content.get("url", ""))
    if type_ != "Binary":
        raise Problem("not-found")
    return base64.b64decode((await visit.fhir.read(type_, id_))["data"])


async def _take(visit: Visit, file: UploadFile) -> Refused | None:
    content = await file.read(visit.parts.config.max_upload_bytes + 1)
    reason = await _keep(visit, content)
    return refused((file.filename or "")[:80], reason) if reason else None


async def _keep(visit: Visit, content: bytes) -> str | None:
    """Keep an image in the draft; the reason why it can't be."""
    draft = await visit.drafts.intake(visit.parts.new_id())
    if len(draft.images) >= visit.parts.config.max_images:
        return "too-many"
    if len(content) > visit.parts.config.max_upload_bytes:
        return "too-large"
    try:
        image = read_image(content)
    except NotAnImage as error:
        return error.reason
    digest = hashlib.sha256(image.content).hexdigest()
    if any(known.sha256 == digest for known in draft.images):
        return "duplicate"
    if len(image.content) + sum(i.size for i in draft.images) > visit.parts.config.max_total_bytes:
        return "too-large-together"
    check = visit.parts.config.cell_check
    looked = await check.look(image.content, image.content_type) if check else None
    # File names may hold names of people, so the title is ours.
    number = 1 + max((int(i.title.rpartition(" ")[2]) for i in draft.images), default=0)
    kept = DraftImage(
        id=visit.parts.new_id(),
        title=f"Smear {number}",
        content_type=image.content_type,
        size=len(image.content),
        width=image.width,
        height=image.height,
        sha256=digest,
        cells=looked.cells if looked else None,
        refusal=looked.refusal if looked else "",
    )
    await visit.drafts.add_image(draft, kept, image.content)
    return None


async def _page(visit: Visit, problems: tuple[Refused, ...]) -> Response:
    draft = await visit.drafts.intake(visit.parts.new_id())
    return await visit.page(
        "images.html",
        422 if problems else 200,
        banner=await load_banner(visit),
        draft=draft,
        problems=problems,
        count=cell_count(draft, visit.parts.config.cell_check),
        shown_types=SHOWN_TYPES,
        max_bytes=visit.parts.config.max_upload_bytes,
    )
