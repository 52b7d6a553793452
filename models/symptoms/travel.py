"""Travel in a malaria area: how long ago, how soon ill, what was taken (UK guidelines 2016)."""

from collections.abc import Iterable

from fhir_server.fhir.assessment import SYMPTOM_CODES
from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.illness import fever_evidence
from models.symptoms.port import Finding, Urgency
from models.symptoms.rule import Limit, evidence_of

# P. falciparum rarely shows later than six months after exposure (UK guidelines 2016).
LATE_DAYS = 183
# Shortest usual incubation of P. falciparum in people without immunity, in days.
SHORTEST_INCUBATION_DAYS = 6

_TRAVELLER = Limit(
    "travel-illness",
    "Ill during or after travel in a malaria area: malaria must be looked for today",
    Urgency.URGENT,
    "TR-1 illness in the six months after travel in a malaria area",
    sources.MALARIA_TRAVEL,
)
_LATE = Limit(
    "late-travel-illness",
    "Ill more than six months after travel in a malaria area: rarely P. falciparum, but other "
    "species can appear more than a year later",
    Urgency.ROUTINE,
    "TR-2 illness more than six months after travel in a malaria area",
    sources.MALARIA_TRAVEL,
)
_EARLY = Limit(
    "early-travel-illness",
    "Illness began sooner after arrival than malaria usually does: look for other causes as well; "
    "shorter incubation has been reported",
    Urgency.ROUTINE,
    "TR-3 onset less than six days after arrival",
    sources.INCUBATION,
)
_PREVENTION = Limit(
    "prophylaxis",
    "Medicine to prevent malaria was taken: it does not rule malaria out, and can delay it",
    Urgency.ROUTINE,
    "TR-4 preventive medicine taken",
    sources.PROPHYLAXIS,
)
_TREATED = Limit(
    "antimalarial-taken",
    "Malaria medicine was already taken for this illness: a smear may show fewer parasites, so one "
    "without parasites says less",
    Urgency.ROUTINE,
    "TR-5 malaria medicine taken for this illness",
    sources.OWN_CAUTION,
)


def travel(facts: SymptomFacts) -> Iterable[Finding]:
    """What travel means for someone who is ill; fever is usual but not needed."""
    illness = illness_evidence(facts)
    if not illness:
        return
    if facts.history.get("travel") == "yes":
        since = facts.days_since_travel
        when = () if since is None else (f"Left the malaria area {since} days ago",)
        limit = _LATE if since is not None and since > LATE_DAYS else _TRAVELLER
        yield limit.finding("Travelled in a malaria area: yes", *when, *illness)
        soon = facts.days_from_arrival
        if soon is not None and soon < SHORTEST_INCUBATION_DAYS:
            yield _EARLY.finding(early_evidence(soon))
    for code, taken in (("prophylaxis", _PREVENTION), ("antimalarial", _TREATED)):
        evidence = evidence_of(facts, code)
        if evidence:
            yield taken.finding(evidence)


def early_evidence(days: int) -> str:
    """The time from arrival to onset as evidence."""
    return f"Illness began {days} days after arrival in the malaria area"


def illness_evidence(facts: SymptomFacts) -> tuple[str, ...]:
    """Fever, or else every other symptom that is present."""
    fever = fever_evidence(facts)
    if fever:
        return fever
    return tuple(line for code in SYMPTOM_CODES if (line := evidence_of(facts, code)))
