"""S6: smear images, judged by their bytes here and by their content in the worker."""

import base64
import hashlib

from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.responses import Response

from smart_app.charts import load_banner
from smart_app.drafts import DraftImage
from smart_app.headers import IMAGE_HEADERS
from smart_app.images import NotAnImage, read_image
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
    content = media["content"]
    if content.get("contentType") not in SHOWN_TYPES:
        raise Problem("not-found")
    if "data" in content:
        encoded = content["data"]
    else:
        type_, id_ = visit.fhir.key(content.get("url", ""))
        if type_ != "Binary":
            raise Problem("not-found")
        encoded = (await visit.fhir.read(type_, id_))["data"]
    return Response(
        base64.b64decode(encoded),
        media_type=content["contentType"],
        headers=dict(IMAGE_HEADERS),
    )


async def _take(visit: Visit, file: UploadFile) -> Refused | None:
    name = (file.filename or "")[:80]
    draft = await visit.drafts.intake(visit.parts.new_id())
    if len(draft.images) >= visit.parts.config.max_images:
        return refused(name, "too-many")
    content = await file.read(visit.parts.config.max_upload_bytes + 1)
    if len(content) > visit.parts.config.max_upload_bytes:
        return refused(name, "too-large")
    try:
        image = read_image(content)
    except NotAnImage as error:
        return refused(name, error.reason)
    digest = hashlib.sha256(image.content).hexdigest()
    if any(known.sha256 == digest for known in draft.images):
        return refused(name, "duplicate")
    if len(image.content) + sum(i.size for i in draft.images) > visit.parts.config.max_total_bytes:
        return refused(name, "too-large-together")
    check = visit.parts.cell_check
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
        count=cell_count(draft, visit.parts.cell_check),
        shown_types=SHOWN_TYPES,
        max_bytes=visit.parts.config.max_upload_bytes,
    )
