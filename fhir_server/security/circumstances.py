"""What decides, besides the token, what a caller may touch at one moment: tenants, labels in use,
Consents, and emergency access under way."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property

from fhir_server.fhir.dates import microseconds
from fhir_server.security.consents import Directive, Provision
from fhir_server.security.emergencies import Emergency


@dataclass(frozen=True)
class Policy:
    """What the operator decides. `has_tenants`: the store is shared by several;
    `consents_by_default`: what a patient who has said nothing is taken to have said."""

    has_tenants: bool = False
    consents_by_default: bool = True


PATIENTS_SHARE = Policy()
"""One tenant; a patient who has said nothing shares."""


@dataclass(frozen=True, eq=False)
class Rules:
    """What the store says, as of one revision; known by identity. `labelled` are the types that
    restricted labels may stand on (None: nobody knows, so any); `directives` what Consents say,
    and the restrictions of processing."""

    revision: int = 0
    labelled: frozenset[str] | None = frozenset()
    directives: tuple[Directive, ...] = ()
    emergencies: Mapping[str, tuple[Emergency, ...]] = field(default_factory=dict)

    @cached_property
    def by_root(self) -> Mapping[Provision, frozenset[str]]:
        """The patients who say the same; few say what nobody else does."""
        found: dict[Provision, set[str]] = {}
        for directive in self.directives:
            found.setdefault(directive.root, set()).add(directive.patient)
        return {root: frozenset(patients) for root, patients in found.items()}

    @cached_property
    def names_places(self) -> bool:
        """Whether some provision is about an Organization or a PractitionerRole."""
        return any(
            actor.startswith(("Organization/", "PractitionerRole/"))
            for root in self.by_root
            for rule in _all(root)
            for actor in rule.actors
        )

    @cached_property
    def boundaries(self) -> tuple[int, ...]:
        """The moments at which a provision begins or ends to hold."""
        periods = (rule.period for root in self.by_root for rule in _all(root))
        return tuple(sorted({each for period in periods if period for each in period}))

    def span(self, now: datetime) -> int:
        """A number for the time between two boundaries: in it nothing changes."""
        return bisect_right(self.boundaries, microseconds(now)) if self.boundaries else 0

    def emergencies_of(self, subject: str, tenant: str, now: datetime) -> frozenset[str]:
        """The patients to whom a user has emergency access."""
        seconds = now.timestamp()
        return frozenset(
            each.patient
            for each in self.emergencies.get(subject, ())
            if each.until > seconds and each.tenant == tenant
        )


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Circumstances:
    """The rules as they are for one caller now; equal ones give equal rights. `places` are the
    Organizations and PractitionerRoles of the caller, `emergencies` ids of patients."""

    policy: Policy = PATIENTS_SHARE
    rules: Rules = field(default_factory=Rules)
    span: int = 0
    places: frozenset[str] = frozenset()
    emergencies: frozenset[str] = frozenset()
    now: datetime = field(default=_LONG_AGO, compare=False)

    @property
    def unconsented(self) -> "Circumstances":
        """The same, had no patient said anything: no Consent, and no restriction."""
        rules = replace(self.rules, directives=())
        return replace(self, policy=replace(self.policy, consents_by_default=True), rules=rules)

    @property
    def seal(self) -> str:
        """The same as long as nothing has changed that rights depend on."""
        emergencies = ",".join(sorted(self.emergencies))
        return f"{self.rules.revision} {self.span} {emergencies} {sorted(self.places)}"


PLAIN = Circumstances()
"""One tenant, no Consents, no restricted labels."""


def _all(root: Provision) -> Iterable[Provision]:
    yield root
    for each in root.exceptions:
        yield from _all(each)
