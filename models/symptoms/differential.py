"""Conditions to think of in an ill patient: one table, each line with its rule and source.

It names, it does not rank, and it excludes nothing; malaria stands first whenever there is fever.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Evidence, Finding, Possibility, Source
from models.symptoms.rule import answered_no, evidence_of
from models.symptoms.travel import SHORTEST_INCUBATION_DAYS, early_evidence, illness_evidence


@dataclass(frozen=True)
class Condition:
    """When a condition is worth a thought. `features` are symptom codes and finding codes; each
    group counts once, `least` groups must be there, one of them in `needs` when that is given.
    `against` are symptoms whose answer "no" speaks against it."""

    rule: str
    name: str
    source: Source
    features: tuple[tuple[str, ...], ...]
    needs: tuple[str, ...] = ()
    least: int = 1
    against: tuple[str, ...] = ()


MALARIA = Condition(
    "DD-1",
    "Malaria",
    sources.MALARIA_DIAGNOSIS,
    (
        *(("fever",), ("chills",), ("sweating",), ("headache",), ("vomiting",)),
        *(("travel",), ("jaundice",), ("travel-illness",), ("late-travel-illness",)),
    ),
    least=0,
    against=("fever", "chills"),
)
CONDITIONS: tuple[Condition, ...] = (
    Condition(
        "DD-2",
        "Pneumonia or another respiratory infection",
        sources.IMCI_BREATHING,
        (("cough",), ("breathlessness",), ("fast-breathing",), ("low-oxygen",)),
        needs=("cough", "breathlessness"),
        against=("cough", "breathlessness"),
    ),
    Condition(
        "DD-3",
        "Gastroenteritis",
        sources.IMCI_DIARRHOEA,
        (("diarrhoea",), ("vomiting",), ("abdominal-pain",)),
        needs=("diarrhoea",),
        against=("vomiting", "abdominal-pain"),
    ),
    Condition(
        "DD-4",
        "Typhoid fever",
        sources.CHILD_FEVER,
        (("long-fever",), ("abdominal-pain",), ("diarrhoea",), ("vomiting",), ("headache",)),
        needs=("long-fever", "abdominal-pain"),
        against=("abdominal-pain", "headache"),
    ),
    Condition(
        "DD-5",
        "Meningitis",
        sources.CHILD_FEVER,
        (("stiff-neck",), ("convulsions",), ("reduced-consciousness",), ("headache",)),
        needs=("stiff-neck", "convulsions", "reduced-consciousness"),
        against=("stiff-neck", "headache"),
    ),
    Condition(
        "DD-6",
        "Dengue",
        sources.DENGUE,
        (
            *(("vomiting",), ("rash",), ("headache", "muscle-pain")),
            *(("abdominal-pain",), ("bleeding",)),
        ),
        least=2,
        against=("rash", "headache", "muscle-pain", "bleeding"),
    ),
    Condition(
        "DD-7",
        "Urinary tract infection",
        sources.CHILD_FEVER,
        (("painful-urination",), ("vomiting",), ("abdominal-pain",)),
        needs=("painful-urination",),
    ),
    Condition(
        "DD-8",
        "Sepsis",
        sources.CHILD_FEVER,
        (
            *(("low-blood-pressure",), ("news2",), ("paediatric-score",)),
            *(("young-infant-temperature",), ("hypothermia",)),
        ),
    ),
    Condition(
        "DD-9",
        "Measles",
        sources.MEASLES,
        (("rash",), ("cough", "runny-nose", "red-eyes")),
        needs=("rash",),
        least=2,
        against=("cough",),
    ),
    Condition(
        "DD-10",
        "Tuberculosis or an illness of HIV",
        sources.IMCI_FEVER,
        (("long-fever",), ("cough",), ("weight-loss",), ("sweating",)),
        needs=("long-fever",),
        against=("cough", "sweating"),
    ),
    Condition(
        "DD-11",
        "Viral haemorrhagic fever, where it occurs",
        sources.TRAVEL_FEVERS,
        (("bleeding",), ("travel",)),
        needs=("bleeding",),
    ),
    Condition(
        "DD-12",
        "Infection of ear, nose or throat",
        sources.CHILD_FEVER,
        (("ear-pain",), ("sore-throat",), ("runny-nose",)),
    ),
)


def possibilities(
    facts: SymptomFacts, findings: Sequence[Finding], origin: str
) -> tuple[Possibility, ...]:
    """The conditions that the facts bring to mind, in the order of the table. Without fever and
    without travel there are none."""
    by_code = {finding.code: finding for finding in findings}
    is_febrile = "fever" in by_code
    is_traveller = facts.history.get("travel") == "yes" and bool(illness_evidence(facts))
    if not is_febrile and not is_traveller:
        return ()
    told = [_malaria(facts, by_code, origin)]
    told += [
        possibility
        for condition in CONDITIONS
        if is_febrile and (possibility := _judged(condition, facts, by_code, origin))
    ]
    return tuple(told)


def _judged(
    condition: Condition, facts: SymptomFacts, by_code: dict[str, Finding], origin: str
) -> Possibility | None:
    groups = [
        [line for code in group if (line := _evidence(code, facts, by_code))]
        for group in condition.features
    ]
    has_needed = not condition.needs or any(
        _evidence(code, facts, by_code) for code in condition.needs
    )
    if sum(bool(group) for group in groups) < condition.least or not has_needed:
        return None
    return Possibility(
        condition.name,
        tuple(line for group in groups for line in group),
        tuple(Evidence(no) for code in condition.against if (no := answered_no(facts, code))),
        origin,
        condition.rule,
        condition.source,
    )


def _evidence(code: str, facts: SymptomFacts, by_code: dict[str, Finding]) -> Evidence | None:
    """A symptom as a chart fact, or else what a rule found under this code."""
    line = evidence_of(facts, code)
    if line:
        return Evidence(line)
    found = by_code.get(code)
    return Evidence(found.text, found.rule.split(" ", 1)[0]) if found else None


def _malaria(facts: SymptomFacts, by_code: dict[str, Finding], origin: str) -> Possibility:
    """Malaria, never excluded: what makes it less likely is told as such."""
    judged = _judged(MALARIA, facts, by_code, origin)
    assert judged is not None  # it needs nothing
    against = list(judged.evidence_against)
    soon = facts.days_from_arrival
    if soon is not None and soon < SHORTEST_INCUBATION_DAYS:
        against.append(Evidence(early_evidence(soon), "TR-3"))
    if facts.history.get("prophylaxis") == "yes":
        against.append(Evidence("Medicine to prevent malaria taken regularly", "TR-4"))
    return Possibility(
        judged.name, judged.evidence_for, tuple(against), origin, judged.rule, judged.source
    )
