"""Puts the parts of monitoring into a process."""

import time
from importlib.metadata import version

import httpx
from prometheus_client import ProcessCollector

from deploy.background import Work
from deploy.monitoring.certificates import CertificateDates, certificates
from deploy.monitoring.observed import StoreObserver
from deploy.monitoring.parts import Beats
from deploy.monitoring.process import ProcessFacts
from deploy.monitoring.status import Board
from deploy.process import Process
from fhir_server.app import Knowledge
from fhir_server.rest.trace import ANSWERING, HEADER
from fhir_server.storage.port import ResourceStore
from fhir_server.system import utc_now


def watch_process(process: Process) -> CertificateDates:
    """What every role tells: itself, its memory and files, its certificates."""
    process.metrics.register(ProcessFacts(process.settings, process.readiness))
    ProcessCollector(registry=process.metrics)
    dates = CertificateDates(lambda: certificates(process.settings), time.monotonic)
    process.metrics.register(dates)
    process.before_metrics += [process.readiness.problems, dates.refresh]
    return dates


def watch_store(
    process: Process, store: ResourceStore, known: Knowledge, dates: CertificateDates
) -> Board:
    """What those with the store tell besides: what waits in it. They leave word of themselves."""
    settings = process.settings
    observer = StoreObserver(store, known.scope, utc_now)
    process.metrics.register(observer)
    process.before_metrics.append(observer.refresh)
    beats = Beats(
        store,
        settings.role,
        version("medsage"),
        process.readiness,
        process.metrics,
        clock=utc_now,
        started=utc_now(),
    )
    process.running.append(Work(beats.run))
    return Board(store, observer, dates, process.http, settings)


async def in_trace(request: httpx.Request) -> None:
    """Let a call that is made while a request is answered belong to that request's trace."""
    answering = ANSWERING.get()
    if answering is not None:
        request.headers[HEADER] = answering.trace.outgoing  # a transport that traces says its own
