"""The clients and users that an installation registers at its own authorization server."""

import asyncio
from collections.abc import Sequence

from deploy.demo import client as demo_client
from deploy.demo import identities
from deploy.keys import Keys, public_jwks
from deploy.simulated_ehr.oauth import SCOPES as EHR_SCOPES
from fhir_server.fhir.model_versions import MEASURER
from fhir_server.security import endpoints
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import hash_password, register_user
from fhir_server.storage.port import ResourceStore, Transaction
from models.monitoring.watch import SCOPES as MONITOR_SCOPES
from models.worker_device import SCOPES as WORKER_SCOPES
from smart_app.launch.own_scopes import registered_scope

APP, WORKER, EHR = "medsage-app", endpoints.WORKER, "medsage-ehr"
MONITOR = MEASURER


def own_clients(base_url: str, keys: Keys, frame_origins: Sequence[str]) -> list[Client]:
    """The app, the worker, and the watch over the models, which has the worker's key."""
    return [
        Client(
            APP,
            "MedSAGE",
            f"{registered_scope()} offline_access",
            grant_types=frozenset({"authorization_code", "refresh_token", "client_credentials"}),
            redirect_uris=(f"{base_url}/app/callback",),
            launch_uri=f"{base_url}/app/launch",
            post_logout_redirect_uris=(f"{base_url}/app/",),
            frame_origins=tuple(frame_origins),
            jwks=public_jwks(keys.app),
            is_preapproved=True,
        ),
        Client(
            WORKER,
            "MedSAGE worker",
            WORKER_SCOPES,
            grant_types=frozenset({"client_credentials"}),
            jwks=public_jwks(keys.worker),
        ),
        Client(
            MONITOR,
            "MedSAGE monitoring of models",
            MONITOR_SCOPES,
            grant_types=frozenset({"client_credentials"}),
            jwks=public_jwks(keys.worker),
        ),
    ]


def demo_clients(keys: Keys, ehr_origins: Sequence[str]) -> list[Client]:
    """The simulated EHR and the client of `medsage demo`."""
    return [
        Client(
            EHR,
            "Simulated EHR",
            EHR_SCOPES,
            redirect_uris=tuple(f"{origin}/ehr/callback" for origin in ehr_origins),
            post_logout_redirect_uris=tuple(f"{origin}/ehr/" for origin in ehr_origins),
            jwks=public_jwks(keys.ehr),
            is_preapproved=True,
            is_ehr=True,
        ),
        Client(
            demo_client.CLIENT_ID,
            "MedSAGE demonstration",
            demo_client.SCOPES,
            grant_types=frozenset({"client_credentials", "authorization_code"}),
            redirect_uris=(demo_client.REDIRECT_URI,),
            jwks=public_jwks(demo_client.demo_key()),
            is_preapproved=True,
        ),
    ]


async def register(store: ResourceStore, clients: Sequence[Client]) -> None:
    """Insert or replace the clients."""

    async def unit(transaction: Transaction) -> None:
        for client in clients:
            await register_client(transaction, client)

    await store.transaction(unit)


async def register_demo_users(store: ResourceStore) -> None:
    """The demonstration's users, where they are not there yet (hashing takes a while)."""
    absent = [user for user in identities.USERS if await store.record(USER, user.id) is None]
    if not absent:
        return
    password = await asyncio.to_thread(hash_password, identities.PASSWORD)

    async def unit(transaction: Transaction) -> None:
        for user in absent:
            await register_user(transaction, user, password)

    await store.transaction(unit)
