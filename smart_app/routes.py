"""The table of pages: method, path under the app's root, page function."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from smart_app.pages import (
    adjudication,
    cells,
    chart,
    downloads,
    drift,
    feedback,
    images,
    intake,
    keys,
    patients,
    prescription,
    printing,
    progress,
    recalls,
    review,
    sending,
    start,
    versions,
)
from smart_app.parts import Parts
from smart_app.visit import Visit

OpenPage = Callable[[Parts, Request], Awaitable[Response]]
SessionPage = Callable[[Visit], Awaitable[Response]]

# Pages outside a session.
OPEN: tuple[tuple[str, str, OpenPage], ...] = (
    ("GET", "/", start.home),
    ("POST", "/sign-in", start.sign_in),
    ("GET", "/launch", start.launch),
    ("GET", "/callback", start.callback),
    ("GET", "/jwks.json", keys.jwks),
)

# Pages of a session, under /s/{sid}.
WITHIN: tuple[tuple[str, str, SessionPage], ...] = (
    ("GET", "/", chart.home),
    ("GET", "/history", chart.history),
    ("POST", "/sign-out", start.sign_out),
    ("GET", "/patients", patients.find),
    ("POST", "/patients/open", patients.open_chart),
    ("GET", "/patients/new", patients.new),
    ("POST", "/patients/new", patients.create),
    ("GET", "/intake", intake.show),
    ("POST", "/intake", intake.save),
    ("POST", "/intake/draft", intake.autosave),
    ("GET", "/images", images.show),
    ("POST", "/images", images.upload),
    ("POST", "/images/remove", images.remove),
    ("GET", "/images/{image}", images.draft_content),
    ("GET", "/check", intake.check),
    ("POST", "/start", intake.start),
    ("GET", "/tasks/{task}", progress.show),
    ("GET", "/tasks/{task}/steps", progress.steps),
    ("GET", "/tasks/{task}/events", progress.events),
    ("GET", "/media/{media}", images.media_content),
    ("GET", "/reports/{report}", review.show),
    ("POST", "/reports/{report}/reading", review.read_first),
    ("POST", "/reports/{report}/conclusion", review.save),
    ("GET", "/reports/{report}/cells/{image}", cells.show),
    ("POST", "/reports/{report}/more", images.add_more),
    ("GET", "/reports/{report}/sign", review.ask),
    ("POST", "/reports/{report}/sign", review.sign),
    ("POST", "/reports/{report}/looked-again", recalls.looked_again),
    ("GET", "/reports/{report}/feedback", feedback.show),
    ("POST", "/reports/{report}/feedback", feedback.save),
    ("GET", "/reports/{report}/prescription", prescription.show),
    ("POST", "/reports/{report}/prescription", prescription.prescribe),
    ("POST", "/reports/{report}/send", sending.send_again),
    ("POST", "/reports/{report}/download", downloads.download),
    ("POST", "/reports/{report}/print", printing.log_print),
    ("GET", "/reports/{report}/print/{what}", printing.show),
    ("GET", "/versions", versions.show_all),
    ("GET", "/versions/{device}", versions.show),
    ("POST", "/versions/{device}/propose", versions.propose),
    ("POST", "/versions/{device}/approve", versions.approve),
    ("POST", "/versions/{device}/decline", versions.decline),
    ("POST", "/versions/{device}/retire", versions.retire),
    ("GET", "/drift", drift.show),
    ("POST", "/drift/release", drift.release),
    ("GET", "/adjudication", adjudication.queue),
    ("POST", "/adjudication/open", adjudication.open_case),
    ("GET", "/reports/{report}/adjudicate", adjudication.show),
    ("POST", "/reports/{report}/adjudicate", adjudication.save),
)
