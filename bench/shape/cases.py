"""A clinician's case: symptoms and an image through the pages of the app, then the wait."""

import asyncio
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import orjson

from bench.client import percentile
from bench.diagnose import IMAGES, marked
from bench.shape.asking import Asking, Request
from bench.shape.ledger import Ledger
from bench.shape.visits import ELSEWHERE, HERE, Browser, hidden_fields
from bench.shape.wire import Answer

KIND = "case"
POLL_SECONDS = (0.5, 1, 1, 1, 2, 2, 2, 5, 10, 30)
"""Between two looks at the steps, the last for all further ones: as the page asks that has no
stream of events (smart_app/static/js/events.js)."""
LONGEST_SECONDS = 300.0
"""After so long a clinician looks for the report another day; the Task must end all the same."""
_AGAIN_SECONDS = 3.0
_BOUNDARY = "medsage-load-part"
_FOUND = {"temperature": "39.4", "heart_rate": "116", "fever": "yes", "chills": "yes"}


@dataclass
class Cases:
    """`seconds` are those from sending a case to its report; `begun` counts cases, `again` those
    that a clinician had to begin again, `waiting` those whose report did not come in time."""

    asking: Asking
    ledger: Ledger
    seconds: list[float] = field(default_factory=list)
    begun: int = 0
    again: int = 0
    waiting: int = 0

    def figures(self) -> dict[str, Any]:
        """How many there were, and the seconds from sending one to its report."""
        ordered = sorted(self.seconds)
        percents = {f"p{each}_seconds": round(percentile(ordered, each), 2) for each in (50, 95)}
        return {
            "begun": self.begun,
            "with_a_report": len(ordered),
            **percents,
            "begun_again": self.again,
            "report_not_waited_for": self.waiting,
        }

    async def one(self, browser: Browser, number: int) -> None:
        """A whole case; who sees an error begins it again after a while, until it is sent."""
        self.begun += 1
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_SECONDS
        while (task := await self._sent(browser, number)) is None:
            if loop.time() > end:
                self.waiting += 1
                return
            self.again += 1
            await asyncio.sleep(_AGAIN_SECONDS)
        self.ledger.tasks.add(task)
        began = loop.time()
        for pause in chain(POLL_SECONDS, repeat(POLL_SECONDS[-1])):
            if loop.time() > end:
                break
            await asyncio.sleep(pause)
            state = await self._steps(browser, task)
            if state.get("over"):
                self.seconds.append(loop.time() - began)
                await self._get(browser, state["next"])
                return
        self.waiting += 1

    async def _sent(self, browser: Browser, number: int) -> str | None:
        """The id of the Task; None when some page did not come."""
        page = await self._get(browser, f"{browser.chart}intake")
        if page is None:
            return None
        hidden = hidden_fields(page.body.decode())
        if not await self._post(browser, "intake", hidden | _FOUND):
            return None
        kind, body = _image(hidden, number)
        sent = browser.sent(f"{browser.chart}images", kind, body)
        # An image that is in the draft already is refused as one that was sent twice (422).
        good = frozenset({303, 422})
        if not await self._ask(browser, Request(KIND, sent, good)):
            return None
        check = await self._get(browser, f"{browser.chart}check")
        if check is None:
            return None
        fields = hidden_fields(check.body.decode()) | {"confirm_slides": "yes"}
        answer = await self._post(browser, "start", fields)
        place, found, task = (
            answer.header("location").rpartition("/tasks/") if answer else ("",) * 3
        )
        return task if found and place else None

    async def _steps(self, browser: Browser, task: str) -> dict[str, Any]:
        answer = await self._get(browser, f"{browser.chart}tasks/{task}/steps")
        found: dict[str, Any] = orjson.loads(answer.body) if answer else {}
        return found

    async def _get(self, browser: Browser, path: str) -> Answer | None:
        return await self._ask(browser, Request(KIND, browser.get(path), HERE))

    async def _post(self, browser: Browser, page: str, fields: dict[str, str]) -> Answer | None:
        sent = browser.post(f"{browser.chart}{page}", fields)
        return await self._ask(browser, Request(KIND, sent, ELSEWHERE))

    async def _ask(self, browser: Browser, request: Request) -> Answer | None:
        due = asyncio.get_running_loop().time()
        return await self.asking.ask(browser.caller, request, due)


def _image(hidden: dict[str, str], number: int) -> tuple[str, bytes]:
    """The media type and body of the form with an image that no other case has."""
    content = marked((IMAGES / "cell-parasitized.png").read_bytes(), number)
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    fields = [f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in hidden.items()]
    opening = f'{head}"image"; filename="cell.png"\r\nContent-Type: image/png\r\n\r\n'
    end = f"\r\n--{_BOUNDARY}--\r\n"
    body = "".join(fields).encode() + opening.encode() + content + end.encode()
    return f"multipart/form-data; boundary={_BOUNDARY}", body
