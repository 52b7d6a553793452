"""Which sentences of a language model stand: those tied to chart facts, in English, and harmless.

The tie is checked, not believed. The facts that a sentence names must exist; a number in it must
be in them; a symptom that it affirms or denies must be so in them. What fails is dropped and
counted by its reason.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_server.fhir.assessment import HISTORY_CODES, SYMPTOM_CODES
from models.symptoms.illness import FEVER_CELSIUS
from models.symptoms.redact import has_command, has_dose, has_identifier
from models.symptoms.schema import Differential, GroundedSentence
from models.symptoms.words import mentions


class Fate(StrEnum):
    """What became of a sentence; all but the first are reasons to drop it."""

    KEPT = "kept"
    UNKNOWN_FACT = "unknown-fact"
    NUMBER = "number-not-in-facts"
    SYMPTOM = "symptom-not-in-facts"
    CHART = "against-the-chart"
    DOSE = "dose"
    REASSURANCE = "reassurance"
    IDENTIFIER = "identifier-or-link"
    SUBJECT = "not-about-the-patient"
    LANGUAGE = "not-english"
    REPEATED = "repeated"


@dataclass(frozen=True)
class Judged:
    """A sentence with its fate and the facts that it names, as far as they exist."""

    text: str
    fate: Fate
    facts: tuple[str, ...]


# Malaria is never excluded, a result never negative, and nobody is sent home by a machine.
_REASSURANCE = re.compile(
    r"\bnegative\b|"
    r"\bmalaria\b.*\b(?:exclu\w+|ruled? out|unlikely|absent|not present|no longer)\b|"
    r"\b(?:exclud\w+|rul\w+ out|not|no|without) (?:\w+ )?malaria\b|"
    r"\b(?:go|sent?|discharged?) home\b|\bdischarge\b|\bharmless\b|\bsafe to\b|"
    r"\bno (?:danger|emergency|urgen\w+|risk|need)\b|"
    r"\b(?:not|nothing) (?:urgent|serious|dangerous|an emergency|to worry)\b|"
    # No rule says what is normal at which age, so no sentence does.
    r"(?<!above )(?<!below )(?<!beyond )(?<!outside )(?<!than )(?<!the )\bnormal(?:ly)?\b|"
    r"\b(?:stable|unremarkable|within (?:the )?(?:normal|usual) \w+)\b|"
    r"\breassur\w+|\bself[- ]limiting\b|\bperfectly (?:well|healthy)\b",
    re.IGNORECASE,
)
# How urgent it is has a field of its own; and no patient has instructions or a prompt.
_OTHER_SUBJECT = re.compile(
    r"\b(?:urgency|triage|instructions?|prompt|language model|software)\b", re.IGNORECASE
)
# The words that an English sentence of this kind is made of; other languages share few of them.
_ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "the is are of and with for has have to be this that by may should not there "
        "were been from at since after before because which who whose do does needs show "
        "shows suggests possible patient child fever malaria blood test smear repeat "
        "check measure examine look ask consider days day pain high low breathing rapid "
        "diagnostic now today signs sign symptoms refer urgent temperature pressure "
        "heart rate oxygen assess assessment",
    )
)
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_COUNTED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_COUNTED, start=2)}
_SPELT = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE)
# What a measured value may be called → the fact line that holds it begins with this.
_MEASURED = {
    "temperature": "Body temperature",
    "heart rate": "Heart rate",
    "pulse": "Heart rate",
    "respiratory rate": "Respiratory rate",
    "breathing rate": "Respiratory rate",
    "saturation": "Oxygen saturation",
    "systolic": "Systolic blood pressure",
    "diastolic": "Diastolic blood pressure",
    "weight": "Body weight",
    "height": "Body height",
    "haemoglobin": "Hemoglobin",
    "hemoglobin": "Hemoglobin",
}
_MEASUREMENT = re.compile(
    rf"\b({'|'.join(_MEASURED)})\b((?:(?!\b(?:{'|'.join(_MEASURED)})\b)[^\d;])*?)"
    r"(\d+(?:[.,]\d+)?)(?![\d.,]*\s*(?:day|hour|week|month|year))",
    re.IGNORECASE,
)
_OF_A_MAN = re.compile(r"\b(?:male|man|boy|he|his|him)\b", re.IGNORECASE)
_OF_A_WOMAN = re.compile(r"\b(?:female|woman|girl|she|her)\b", re.IGNORECASE)
_NO_EVIDENCE = (": not asked", ": unknown")
_LEAST_ENGLISH = 0.25
# The subject of a fact line → the symptom it is about, as the table of words calls it.
_CODE_OF = {
    **{name: code for code, (name, _) in SYMPTOM_CODES.items()},
    **{name: code for code, name in HISTORY_CODES.items()},
    "Pregnancy": "pregnancy",
}
_TEMPERATURE = re.compile(r"Body temperature: ([\d.]+) °C")


def judge(
    summary: Iterable[GroundedSentence],
    next_steps: Iterable[GroundedSentence],
    numbered: Mapping[str, str],
) -> list[Judged]:
    """Every sentence with its fate. A next step may speak of a symptom that is not there (to
    look for it), a summary may not."""
    seen: set[str] = set()
    judged = []
    for sentences, is_summary in ((summary, True), (next_steps, False)):
        for sentence in sentences:
            folded = " ".join(sentence.text.casefold().split())
            fate = Fate.REPEATED if folded in seen else _fate(sentence, numbered, is_summary)
            seen.add(folded)
            judged.append(Judged(sentence.text, fate, lines(sentence.facts, numbered)))
    return judged


def lines(numbers: Iterable[str], numbered: Mapping[str, str]) -> tuple[str, ...]:
    """The facts of these numbers, each once; numbers that are not there are left out."""
    return tuple(dict.fromkeys(numbered[each] for each in numbers if each in numbered))


def evidence(numbers: Iterable[str], numbered: Mapping[str, str]) -> tuple[str, ...]:
    """As `lines`, without what is not known: that speaks neither for nor against anything."""
    return tuple(line for line in lines(numbers, numbered) if not line.endswith(_NO_EVIDENCE))


def is_fit_name(text: str) -> bool:
    """Whether a condition may be named so."""
    is_foul = (has_dose, has_command, has_identifier, _REASSURANCE.search)
    return not any(check(text) for check in is_foul) and text.isprintable()


def supports(item: Differential, numbered: Mapping[str, str]) -> bool:
    """Whether a named condition rests on at least one fact that is there, and on no other."""
    given = {*item.facts_for, *item.facts_against}
    is_supported = bool(evidence(item.facts_for, numbered))
    return is_supported and given <= numbered.keys() and is_fit_name(item.name)


def _fate(sentence: GroundedSentence, numbered: Mapping[str, str], is_summary: bool) -> Fate:
    text = sentence.text
    if not set(sentence.facts) <= numbered.keys():
        return Fate.UNKNOWN_FACT
    named = lines(sentence.facts, numbered)
    checks = (
        (Fate.SUBJECT, has_command(text) or _OTHER_SUBJECT.search(text) is not None),
        (Fate.DOSE, has_dose(text)),
        (Fate.REASSURANCE, _REASSURANCE.search(text) is not None),
        (Fate.IDENTIFIER, has_identifier(text)),
        (Fate.LANGUAGE, not _is_english(text, named)),
        (Fate.NUMBER, not _holds_numbers(text, named) or not _holds_measured(text, named)),
        (Fate.CHART, _contradicts(text, numbered.values())),
        (Fate.SYMPTOM, is_summary and not _holds_symptoms(text, named)),
    )
    return next((fate for fate, is_so in checks if is_so), Fate.KEPT)


def _is_english(text: str, named: Iterable[str]) -> bool:
    words = [word.casefold() for word in _WORD.findall(text)]
    known = _ENGLISH | {word.casefold() for line in named for word in _WORD.findall(line)}
    return bool(words) and sum(word in known for word in words) >= _LEAST_ENGLISH * len(words)


def _holds_numbers(text: str, named: Iterable[str]) -> bool:
    """Every number of the sentence is one of the facts'."""
    known = {_value(number) for line in named for number in _numbers(line)}
    return all(_value(number) in known for number in _numbers(text))


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(_SPELT.sub(lambda word: _NUMBER_WORDS[word.group().lower()], text))


def _holds_measured(text: str, named: Iterable[str]) -> bool:
    """A value that the sentence gives for a vital sign is that sign's, not another fact's. A note
    in the clinician's words may hold it too."""
    told: dict[str, set[float]] = {}
    for line in named:
        told.setdefault(line.partition(":")[0], set()).update(map(_value, _numbers(line)))
    return all(
        _value(number) in told.get(_MEASURED[name.casefold()], set()) | told.get("Note", set())
        for name, _, number in _MEASUREMENT.findall(text)
    )


def _contradicts(text: str, chart: Iterable[str]) -> bool:
    """Whether it denies a symptom that any fact of the chart affirms, named or not, or makes a
    man of a woman."""
    chart = tuple(chart)
    affirmed, _ = _told(chart)
    is_denied = any(each.is_negated and each.code in affirmed for each in mentions(text))
    other = {"Sex: female": _OF_A_MAN, "Sex: male": _OF_A_WOMAN}
    return is_denied or any(other[line].search(text) for line in chart if line in other)


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def _holds_symptoms(text: str, named: Iterable[str]) -> bool:
    """What the sentence affirms is affirmed by a fact that it names, and what it denies denied."""
    affirmed, denied = _told(named)
    return all(
        mention.code in (denied if mention.is_negated else affirmed) for mention in mentions(text)
    )


def _told(named: Iterable[str]) -> tuple[set[str], set[str]]:
    affirmed: set[str] = set()
    denied: set[str] = set()
    for line in named:
        subject, _, answer = line.partition(": ")
        if answer in ("no", "yes"):
            (affirmed if answer == "yes" else denied).add(_CODE_OF.get(subject, subject))
        elif subject == "Note":
            for mention in mentions(answer):
                (denied if mention.is_negated else affirmed).add(mention.code)
        heat = _TEMPERATURE.match(line)
        if heat and float(heat.group(1)) >= FEVER_CELSIUS:
            affirmed.add("fever")
    return affirmed, denied
