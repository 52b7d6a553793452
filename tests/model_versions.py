"""Registered versions of the malaria model on a FHIR double, each a scripted model."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fhir_server.fhir.model_versions import Standing, State, with_standing
from models.ai_systems import ai_device
from models.entry import Entry
from models.fhir_client import CallerToken, FhirClient
from models.lifecycle.analysts import RegisteredAnalysts, shadow_observation
from models.lifecycle.installed import Installed
from models.lifecycle.shadows import Budget, Shadows
from models.lifecycle.versions import Versions
from models.registry import MALARIA
from models.symptoms.red_flags import SafeAnalyst
from tests.fhir_double import BASE, FhirDouble
from tests.smear_predictions import CARD, ScriptedSmearModel

HASHES = {"model": "a" * 64, "calibration": "b" * 64}


def installed(version: str, model: Any, *, loads: Any = None) -> Installed:
    """A version whose files are `model`; `loads` is what is found when it is loaded."""
    card = replace(CARD, version=version, hashes=HASHES)
    model.card = card
    entry = Entry(
        condition="malaria",
        weights=Path("shipped"),
        card=lambda folder: card,
        load=lambda folder: loads or model,
        kinds=("Deep-Learning-Models",),
    )
    return Installed(MALARIA, entry, Path(version), card, is_shipped=True)


def register(fhir: FhirDouble, version: Installed, state: State, share: int = 0) -> str:
    """The reference of the version's Device."""
    standing = Standing(MALARIA, "malaria", state, share=share)
    return fhir.add(with_standing(ai_device(version.system, "DocumentReference/c"), standing))


def restate(fhir: FhirDouble, device: str, state: State, share: int = 0) -> None:
    """Another state of a registered version."""
    standing = Standing(MALARIA, "malaria", state, share=share)
    fhir.add(with_standing(fhir.resources[device], standing))


def analysts(
    fhir: FhirDouble, here: Mapping[str, Installed], budget: Budget | None = None, **options: Any
) -> RegisteredAnalysts:
    """The analyses of a worker that has these versions, on the double."""
    client = FhirClient(fhir.client(), BASE, CallerToken(None))
    return analysts_of(client, here, fhir.clock, budget=budget, **options)


def analysts_of(
    client: FhirClient,
    here: Mapping[str, Installed],
    clock: Callable[[], datetime],
    **options: Any,
) -> RegisteredAnalysts:
    """The same on any server."""
    budget = options.pop("budget", None) or Budget()
    versions = Versions(client, here, clock)
    shadows = Shadows(client, versions, shadow_observation, clock, budget)
    return RegisteredAnalysts(versions, SafeAnalyst(), shadows, **options)


def scripted(prediction: Any) -> ScriptedSmearModel:
    """A model that answers this."""
    return ScriptedSmearModel(prediction)
