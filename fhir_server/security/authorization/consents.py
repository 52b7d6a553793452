"""What users allowed apps, remembered: per user, client and scopes, until they take it back."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.records import Effects, delete, of_user
from fhir_server.security.scopes import parse_scopes
from fhir_server.storage.port import Record, ResourceStore


@dataclass(frozen=True)
class Consent:
    """An answer to a consent page: the scopes that were `asked` for, and those `allowed`."""

    KIND: ClassVar[str] = "consent"
    client_id: str
    user: str
    asked: str
    allowed: str
    given: float

    def answers(self, scope: str) -> str | None:
        """What a request for the scopes gets by this consent, None when it asks for more than was
        asked then. Empty when all it asks for was refused then."""
        wanted = parse_scopes(scope)
        if not parse_scopes(self.asked).contains(wanted):
            return None
        allowed, given = parse_scopes(self.allowed), []
        for word in scope.split():
            one = parse_scopes(word)
            given.append(word if allowed.contains(one) else str(allowed.meet(one)))
        return " ".join(word for word in given if word)


async def consent_to(store: ResourceStore, user: str, client_id: str) -> Consent | None:
    """What the user allowed the client, if they were asked."""
    record = await store.record(Consent.KIND, of_user(user, client_id))
    return None if record is None else Consent(**record.value)


async def consents_of(store: ResourceStore, user: str) -> list[Consent]:
    """What the user allowed, by client."""
    records = await store.records(Consent.KIND, prefix=of_user(user))
    return [Consent(**record.value) for record in records]


def remember(consent: Consent) -> Effects:
    """Keep a consent instead of that before."""
    id = of_user(consent.user, consent.client_id)
    return Effects(puts=((Record(Consent.KIND, id, asdict(consent)), None),))


def forget(user: str, client_id: str) -> Effects:
    """Take a consent back."""
    return delete(Consent.KIND, of_user(user, client_id))


def is_remembered(client: Client, redirect_uri: str) -> bool:
    """Whether the answer may stand for later requests: not for an app that neither proves itself
    nor is reached at an address of its own, since any program could ask in its name (RFC 6749
    section 10.2)."""
    return not client.is_public or redirect_uri.startswith("https://")
