"""Rules of how many requests in an hour: what they say, and which of them counts for whom."""

from datetime import UTC, datetime

import pytest

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.limits import RateLimits, Repeated, read_rules
from fhir_server.security.principal import Principal
from fhir_server.security.rate_limit import MemoryCounters


def somebody(subject: str = "amina", client: str = "app", *roles: str) -> Principal:
    return Principal(
        subject=subject,
        client_id=client,
        name=subject,
        roles=frozenset(roles),
        fhir_user=None,
        scopes="",
        patient=None,
        encounter=None,
        session=None,
    )


def limits(text: str) -> RateLimits:
    return RateLimits(read_rules(text), MemoryCounters(lambda: datetime(2026, 11, 26, tzinfo=UTC)))


async def allowed(given: RateLimits, principal: Principal, tries: int = 12) -> int:
    """How many diagnoses are let through, one after the other."""
    for number in range(tries):
        try:
            await given.of_diagnoses(principal, 1)
        except FhirError:
            return number
    return tries


def test_without_rules_the_defaults_hold() -> None:
    assert read_rules("") == {("anonymous", "", ""): 100, ("diagnoses", "", ""): 50}


@pytest.mark.parametrize(
    "text",
    [
        "diagnoses",
        "diagnoses=0",
        "diagnoses=-1",
        "diagnoses=many",
        "diagnosis=5",
        "diagnoses@ward:a=5",
        "diagnoses@role=5",
        "anonymous@role:nurse=5",
        "diagnoses=5;user=5",
    ],
)
def test_what_is_no_rule_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no rate limit|who is anonymous"):
        read_rules(text)


@pytest.mark.parametrize(
    ("rules", "most"),
    [
        ("diagnoses=3", 3),
        ("diagnoses=3, diagnoses@tenant:default=4", 4),
        ("diagnoses=3, diagnoses@tenant:other=4", 3),
        ("diagnoses@tenant:default=4, diagnoses@role:nurse=2", 2),
        ("diagnoses@role:nurse=2, diagnoses@role:doctor=5", 5),
        ("diagnoses@role:nurse=2, diagnoses@role:doctor=none", 12),
        ("diagnoses@role:nurse=2, diagnoses@client:app=1", 1),
        ("diagnoses@client:app=1, diagnoses@user:amina=6", 6),
        ("diagnoses@user:kofi=1, diagnoses=none", 12),
    ],
)
async def test_the_nearest_rule_counts(rules: str, most: int) -> None:
    assert await allowed(limits(rules), somebody("amina", "app", "nurse", "doctor")) == most


async def test_each_user_is_counted_apart() -> None:
    given = limits("diagnoses=2")
    assert await allowed(given, somebody("amina")) == 2
    assert await allowed(given, somebody("kofi")) == 2


async def test_a_client_is_counted_over_all_its_users() -> None:
    given = limits("client=3, user=2")
    for _ in range(2):
        await given.of_caller(somebody("amina"))
    with pytest.raises(FhirError, match="requests of this user"):
        await given.of_caller(somebody("amina"))
    with pytest.raises(FhirError, match="requests of this client"):
        await given.of_caller(somebody("kofi"))
    await given.of_caller(somebody("kofi", "lab"))


async def test_several_diagnoses_in_one_request_count_each() -> None:
    given = limits("diagnoses=5")
    await given.of_diagnoses(somebody(), 5)
    with pytest.raises(FhirError):
        await given.of_diagnoses(somebody(), 1)
    with pytest.raises(FhirError):
        await limits("diagnoses=5").of_diagnoses(somebody(), 1_000_000)


async def test_the_first_refusal_is_told_apart_from_those_that_repeat_it() -> None:
    given = limits("anonymous=1")
    await given.of_nobody("192.0.2.7")
    with pytest.raises(FhirError) as first:
        await given.of_nobody("192.0.2.7")
    with pytest.raises(Repeated) as second:
        await given.of_nobody("192.0.2.7")
    assert not isinstance(first.value, Repeated)
    assert first.value.headers == second.value.headers == {"Retry-After": "3600"}


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        (None, None, True),
    ],
)
async def test_an_address_is_counted_as_its_subscriber(
    one: str | None, other: str | None, together: bool
) -> None:
    given = limits("anonymous=1")
    await given.of_nobody(one)
    if not together:
        await given.of_nobody(other)
        return
    with pytest.raises(FhirError):
        await given.of_nobody(other)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_the_machine_itself_is_not_counted(address: str) -> None:
    given = limits("anonymous=1")
    for _ in range(3):
        await given.of_nobody(address)
