"""Clinicians' browsers: signed in through the authorization server's own pages, and what they
send to the app afterwards."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urlencode, urljoin, urlsplit

from bench.shape.asking import ANSWER_SECONDS
from bench.shape.people import PASSWORD
from bench.shape.wire import Answer, Caller, request

HERE = frozenset({200})
ELSEWHERE = frozenset({303})
_FORM = "application/x-www-form-urlencoded"
_MOST_STEPS = 8
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
_ACTION = re.compile(r'<form[^>]*action="([^"]*)"')


class NotSignedIn(Exception):
    """The pages did not lead into the app; the text says where it ended."""


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's forms (the last of each name)."""
    return {name: unescape(value) for name, value in _HIDDEN.findall(page)}


@dataclass
class Browser:
    """One browser of one user. `home` is the path of its session, `chart` that of the session of
    a patient's chart; both end in a slash."""

    caller: Caller
    user: str
    cookies: dict[str, str] = field(default_factory=dict)
    home: str = ""
    chart: str = ""

    def get(self, path: str) -> bytes:
        """A GET with the cookies."""
        return request(self.caller.door, "GET", path, self._headers())

    def post(self, path: str, fields: Mapping[str, str]) -> bytes:
        """A form sent from our own page."""
        return self.sent(path, _FORM, urlencode(fields).encode())

    def sent(self, path: str, kind: str, body: bytes) -> bytes:
        """A form of this media type sent from our own page."""
        own = {"Origin": self.caller.door.origin, "Sec-Fetch-Site": "same-origin"}
        headers = {**self._headers(), **own, "Content-Type": kind}
        return request(self.caller.door, "POST", path, headers, body)

    def _headers(self) -> dict[str, str]:
        held = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Accept": "text/html", **({"Cookie": held} if held else {})}

    def keep(self, answer: Answer) -> None:
        """Take the cookies of an answer."""
        for header in answer.headers.get("set-cookie", ()):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip('" ')
            if not value:
                del self.cookies[name.strip()]

    async def sign_in(self) -> None:
        """From the app's home page through the authorization server's pages to the session."""
        door = self.caller.door
        path, fields = "/app/sign-in", {"issuer": f"{door.origin}/fhir"}
        answer = await self._followed(self.post(path, fields))
        for _ in range(_MOST_STEPS):
            if answer.status in (302, 303, 307):
                path = _path(urljoin(door.origin + path, answer.header("location")))
                if found := re.match(r"/app/s/[\w-]+/", path):
                    self.home = found[0]
                    return
                answer = await self._followed(self.get(path))
            elif answer.status == 200:
                page = answer.body.decode()
                typed = {"username": self.user, "password": PASSWORD}
                action = _ACTION.search(page)
                target = unescape(action[1]) if action else path.partition("?")[0]
                path = _path(urljoin(door.origin + path, target))
                answer = await self._followed(self.post(path, hidden_fields(page) | typed))
            else:
                break
        raise NotSignedIn(f"{self.user}: {answer.status} at {path.partition('?')[0]}")

    async def open_chart(self, patient: str) -> None:
        """Open a patient's chart from the session, as a session of its own."""
        found = await self._followed(self.get(f"{self.home}patients"))
        fields = {**hidden_fields(found.body.decode()), "patient": patient}
        answer = await self._followed(self.post(f"{self.home}patients/open", fields))
        chart = re.match(r"/app/s/[\w-]+/", _path(answer.header("location")))
        if chart is None:
            raise NotSignedIn(f"{self.user}: {answer.status} at a chart")
        self.chart = chart[0]

    async def _followed(self, sent: bytes) -> Answer:
        answer = await self.caller.ask(sent, ANSWER_SECONDS)
        self.keep(answer)
        return answer


def _path(url: str) -> str:
    found = urlsplit(url)
    return f"{found.path}?{found.query}" if found.query else found.path
