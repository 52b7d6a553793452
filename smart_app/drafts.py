"""What a session has entered but not yet sent: the intake, its images, and a report's edits.

Everything lies in the session store until it is sent, so a reload, a crash of the browser or an
ended token loses nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from smart_app.sessions import Sessions


@dataclass(frozen=True)
class DraftImage:
    """An image that was uploaded and found readable; its bytes are kept beside the draft.

    `cells` are the whole cells counted in it, None when nobody looked; `refusal` says why the
    analysis would refuse the picture, and what to do.
    """

    id: str
    title: str
    content_type: str
    size: int
    width: int
    height: int
    sha256: str
    cells: int | None = None
    refusal: str = ""


@dataclass(frozen=True)
class Draft:
    """The assessment being entered: form fields as typed, and the images. `id` names the one
    submission it may become."""

    id: str
    fields: Mapping[str, str] = field(default_factory=dict)
    images: tuple[DraftImage, ...] = ()


class Drafts:
    """The drafts of one session."""

    def __init__(self, sessions: Sessions, sid: str) -> None:
        self._store = sessions.store
        self._seconds = sessions.seconds
        self._sid = sid

    async def intake(self, new_id: str) -> Draft:
        """The assessment draft; an empty one named `new_id` when there is none yet."""
        value = await self._store.get(f"draft:{self._sid}")
        if value is None:
            draft = Draft(new_id)
            await self.keep(draft)
            return draft
        found = json.loads(value)
        images = tuple(DraftImage(**image) for image in found["images"])
        return Draft(found["id"], found["fields"], images)

    async def keep(self, draft: Draft) -> None:
        """Store the assessment draft."""
        await self._put("draft", asdict(draft))

    async def add_image(self, draft: Draft, image: DraftImage, content: bytes) -> Draft:
        """Keep one more image; the draft that has it comes back."""
        await self._store.put(f"image:{self._sid}:{image.id}", content, self._seconds)
        grown = replace(draft, images=(*draft.images, image))
        await self.keep(grown)
        return grown

    async def remove_image(self, draft: Draft, image_id: str) -> Draft:
        """Drop one image, if it is there."""
        await self._store.delete(f"image:{self._sid}:{image_id}")
        smaller = replace(draft, images=tuple(i for i in draft.images if i.id != image_id))
        await self.keep(smaller)
        return smaller

    async def content(self, image_id: str) -> bytes | None:
        """The bytes of an image of the draft."""
        return await self._store.get(f"image:{self._sid}:{image_id}")

    async def conclusion(self, report_id: str) -> Mapping[str, str]:
        """The clinician's unsigned edits of a report, {} when there are none."""
        value = await self._store.get(f"conclusion:{self._sid}:{report_id}")
        return {} if value is None else json.loads(value)

    async def keep_conclusion(self, report_id: str, fields: Mapping[str, str]) -> None:
        """Store the clinician's unsigned edits of a report."""
        await self._put(f"conclusion:{self._sid}:{report_id}", dict(fields))

    async def _put(self, key: str, value: object) -> None:
        key = f"{key}:{self._sid}" if ":" not in key else key
        await self._store.put(key, json.dumps(value).encode(), self._seconds)


class Submissions:
    """Sending a session's draft once, however often the button is pressed."""

    def __init__(self, sessions: Sessions, sid: str) -> None:
        self._store = sessions.store
        self._seconds = sessions.seconds
        self._sid = sid

    async def claim(self, draft: Draft) -> bool:
        """True to the first who wants to send this draft; others wait or are sent on."""
        return await self._store.claim(f"sending:{draft.id}", 60)

    async def release(self, draft: Draft) -> None:
        """Sending failed: the draft may be sent again."""
        await self._store.delete(f"sending:{draft.id}")

    async def sent(self, draft: Draft, task_id: str) -> None:
        """The draft became a Task: forget it, and remember which one for late double clicks."""
        await self._store.put(f"sent:{self._sid}:{draft.id}", task_id.encode(), self._seconds)
        await self._store.delete(f"draft:{self._sid}")
        for image in draft.images:
            await self._store.delete(f"image:{self._sid}:{image.id}")

    async def task_of(self, draft_id: str) -> str | None:
        """The Task that a sent draft became."""
        value = await self._store.get(f"sent:{self._sid}:{draft_id}")
        return None if value is None else value.decode()
