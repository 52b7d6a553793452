"""Which version of a model runs for a Task, as the server's registry says (ADR 0021)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from fhir_server.fhir.model_versions import (
    AI_DEVICE,
    DEVICE_TYPES,
    Standing,
    State,
    key_of,
    standing_of,
)
from models.fhir_client import FhirClient
from models.lifecycle.arms import CANDIDATE, IN_USE, arm
from models.lifecycle.installed import Installed
from models.port import Model

Resource = dict[str, Any]
_log = structlog.get_logger("medsage.models")


@dataclass(frozen=True)
class Registered:
    """A registered version as the server has it. One whose Device is not `active` was put out of
    use by other means than its standing, and is not run."""

    key: str
    device: str
    standing: Standing
    is_usable: bool = True


@dataclass(frozen=True)
class Loaded:
    """A version that can be asked."""

    installed: Installed
    device: str
    model: Model[Any, Any]


@dataclass(frozen=True)
class Choice:
    """Who answers a Task: None when the version in use is not here, and then `reason` says why.
    `arm` is set while a candidate has a share; `others` run in the shadow."""

    answering: Loaded | None
    arm: str | None = None
    reason: str = ""
    others: Sequence[Registered] = ()


async def registered(fhir: FhirClient) -> list[Registered]:
    """All registered versions."""
    asked = {"type": f"{DEVICE_TYPES}|{AI_DEVICE}", "_count": "200"}
    found = []
    async for device in fhir.search("Device", asked):
        standing = standing_of(device)
        if standing is not None:
            is_usable = device.get("status") == "active"
            reference = f"Device/{device['id']}"
            found.append(Registered(key_of(device), reference, standing, is_usable))
    return found


@dataclass
class Versions:
    """The registry as seen from a worker: asked again after `seconds`, loaded when needed.

    While the server does not answer, neither does this: FhirFailure, and the Task waits.
    """

    fhir: FhirClient
    installed: Mapping[str, Installed]
    clock: Callable[[], datetime]
    seconds: float = 10.0
    _known: list[Registered] = field(default_factory=list, init=False)
    _until: datetime | None = field(default=None, init=False)
    _loaded: dict[str, Model[Any, Any]] = field(default_factory=dict, init=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def choice(self, model: str, task: str) -> Choice:
        """Who answers this Task."""
        known = [v for v in await self._registry() if v.standing.model == model and v.is_usable]
        active = _in_state(known, State.ACTIVE)
        candidate = next(iter(_in_state(known, State.CANDIDATE)), None)
        if not active:
            return Choice(None, reason="no version of the model is approved for use")
        chosen, which = active[0], None
        if candidate is not None and candidate.standing.share:
            which = arm(task, candidate.key, candidate.standing.share)
            # A candidate that is not on this machine leaves its Tasks to the version in use.
            if which == CANDIDATE and await self.loaded(candidate) is None:
                which = IN_USE
            chosen = candidate if which == CANDIDATE else chosen
        answering = await self.loaded(chosen)
        if answering is None:
            return Choice(None, reason="the approved version of the model is not installed here")
        running = (State.ACTIVE, State.CANDIDATE, State.SHADOW)
        others = [v for v in known if v.standing.state in running and v is not chosen]
        return Choice(answering, which, others=others)

    def ask_anew(self) -> None:
        """What was known may be wrong by now: the next choice asks the server."""
        self._until = None

    async def loaded(self, version: Registered) -> Loaded | None:
        """The version ready to be asked; None when it is not on this machine as it was
        registered, and the log says so."""
        found = self.installed.get(version.key)
        if found is None:
            _log.error("version not installed", version=version.key)
            return None
        async with self._asking:
            if version.key not in self._loaded:
                try:
                    self._loaded[version.key] = await asyncio.to_thread(found.load)
                except (RuntimeError, OSError, ValueError) as problem:
                    _log.error("version not loaded", version=version.key, reason=str(problem))
                    return None
        return Loaded(found, version.device, self._loaded[version.key])

    async def _registry(self) -> list[Registered]:
        async with self._asking:
            if self._until is None or self.clock() >= self._until:
                self._known = await registered(self.fhir)
                self._until = self.clock() + timedelta(seconds=self.seconds)
        return self._known


def _in_state(known: Sequence[Registered], state: State) -> list[Registered]:
    return [each for each in known if each.standing.state is state]
