"""Symptoms mentioned in free text: a transparent table of keywords, with negation.

A match is only "mentioned in text": it can raise urgency like an answered question, but never
replaces one, and a negated mention is no answer "no" (the words of a text are too easily misread).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "fever": ("fever", "febrile", "pyrexia", "high temperature", "feels hot", "hot to touch"),
    "chills": ("chills?", "rigors?", "shivering", "shaking"),
    "sweating": ("sweat(?:s|ing|y)?", "diaphoresis"),
    "headache": ("head ?aches?", "cephalgia"),
    "muscle-pain": ("myalgia", "arthralgia", "(?:muscle|joint|body|back) (?:pains?|aches?)"),
    "vomiting": ("vomit(?:s|ing|ed)?", "emesis", "throwing up"),
    "diarrhoea": ("diarrh(?:o?ea)", "loose stools?", "watery stools?"),
    "cough": ("cough(?:s|ing)?",),
    "convulsions": ("convuls(?:ions?|ing|ed)", "seizures?", "fits?", "fitting", "convulsive"),
    "reduced-consciousness": (
        "(?:unconscious|semi-?conscious)(?:ness)?",
        "coma(?:tose)?",
        "confus(?:ed|ion)",
        "drowsy",
        "drowsiness",
        "letharg(?:y|ic)",
        "unresponsive",
        "disorient(?:ed|ation)",
        "not waking",
        "not (?:responding|conscious)",
        "(?:hard|difficult) to (?:wake|rouse)",
        "(?:cannot|can't|can not) be (?:woken|roused)",
        "un(?:a?rous|wak)able",
        "(?:very|unusually|abnormally|excessively) sleepy",
        "altered mental (?:status|state)",
        "delirium",
        "delirious",
    ),
    "unable-to-drink": (
        "(?:unable|not able|no longer able) to (?:eat or )?(?:drink|feed|breast ?feed|suck)",
        "(?:cannot|can't|can not|won't|refus(?:es|ed|ing) to) (?:eat or )?"
        "(?:drink|feed|breast ?feed|suck)",
        "(?:not|no longer) (?:eating (?:or|and|nor) )?(?:drinking|feeding|breast ?feeding|sucking)",
        # IMCI's "vomits everything": nothing that is drunk stays.
        "vomit(?:s|ing|ed)? (?:everything|all (?:feeds|fluids|food))",
        "(?:cannot|can't|can not|unable to|not able to) keep (?:\\w+ )?down",
        "stopped (?:drinking|feeding|breast ?feeding|sucking)",
    ),
    "prostration": (
        "prostrat(?:e|ed|ion)",
        "(?:unable|not able|no longer able|too weak) to (?:sit|stand|walk)(?: up)?",
        "(?:cannot|can't|can not) (?:sit|stand|walk)(?: up)?",
        "collaps(?:e|ed)",
    ),
    "breathlessness": (
        "breathless(?:ness)?",
        "short(?:ness)? of breath",
        "dyspn(?:o?ea|o?eic)",
        "tachypn(?:o?ea|o?eic)",
        "sob",
        "gasping",
        "grunting",
        "(?:cannot|can't|can not|unable to|struggl(?:es|ed|ing) to) breathe",
        "cyanos(?:is|ed)",
        "blue (?:lips|tongue)",
        "difficulty (?:in )?breathing",
        "(?:difficult|fast|rapid|laboured|labored|deep) breathing",
        "respiratory distress",
        "chest indrawing",
    ),
    "jaundice": ("jaundiced?", "icter(?:us|ic)", "yellow(?:ing of the)? (?:eyes?|skin|sclerae?)"),
    "dark-urine": (
        "(?:dark|black|cola[- ]colou?red|tea[- ]colou?red|red) urine",
        "blackwater",
        "h(?:a?e)moglobinuria",
        "h(?:a?e)maturia",
        "blood in (?:the )?urine",
    ),
    "bleeding": (
        "bleed(?:s|ing)?",
        "h(?:a?e)morrhag(?:e|ing)",
        "epistaxis",
        "h(?:a?e)matemesis",
        "vomit(?:s|ing|ed)? blood",
        "mel(?:a?e)na",
        "nose ?bleeds?",
    ),
    "travel": (
        "(?:travel(?:l?ed|s|l?ing)?|trip|returned|back|arrived|visit(?:ed|ing)?) "
        "(?:to|from|in) [^\\s.,;]+",
    ),
    "abdominal-pain": ("(?:abdominal|stomach|belly|tummy) (?:pains?|aches?|cramps?)",),
    "painful-urination": (
        "dysuria",
        "(?:pain(?:ful)?|burning) (?:on |when |with )?(?:passing urine|urinat(?:ing|ion))",
        "(?:flank|loin) pain",
    ),
    "runny-nose": ("runny nose", "coryza", "rhinorrh(?:o?ea)"),
    "red-eyes": ("red eyes?", "conjunctivitis"),
    "sore-throat": ("sore throat", "pharyngitis", "tonsillitis"),
    "ear-pain": ("ear ?aches?", "ear (?:pain|discharge)", "otitis"),
    "weight-loss": ("weight loss", "los(?:ing|t) weight"),
    "pregnancy": ("pregnan(?:t|cy)", "gravid", "antenatal"),
    "stiff-neck": ("stiff neck", "neck stiffness", "meningism(?:us)?"),
    "rash": ("rash(?:es)?", "exanthema?", "petechiae"),
}

# A negation reaches to the end of its clause, which "but" and the like end. Beyond a comma it
# reaches along a bare list alone ("no fever, cough or convulsions"): in "no allergies, fever for
# three days" the fever stands. Where the two can't be told apart, the symptom counts.
_NEGATION = re.compile(
    r"\b(?:no|not|without|den(?:y|ies|ied|ying)|never|absent|negative for|nil|"
    r"free of|neither|nor|hasn't|haven't|isn't|doesn't|didn't|no history of)\b"
)
# "no fever and has headache": such a verb begins a new affirmation.
_AFFIRMS = re.compile(
    r"\b(?:has|have|had|with|complains|reports|is|are|was|were|looks|seems|appears|feels|became|"
    r"becomes|remains|still)\b"
)
# "has not stopped convulsing": what is negated is the end.
_ENDS = re.compile(
    r"\b(?:stop(?:s|ped|ping)?|ceas(?:e|es|ed|ing)|settl(?:e|es|ed|ing)|resolv(?:e|es|ed|ing)|"
    r"improv(?:e|es|ed|ing|ement)|subsid(?:e|es|ed|ing)|recover(?:s|ed|ing)?|controlled|relieved)\b"
)
# "not eating and drowsy": these deny one doing, and reach no further than "and".
_OF_A_VERB = frozenset({"not", "never", "hasn't", "haven't", "isn't", "doesn't", "didn't"})
_CLAUSE = re.compile(r"[.;:!?\n]+|\b(?:but|however|although|though|yet|except|now|then)\b")
_PATTERNS = {
    code: re.compile(r"\b(?:" + "|".join(words) + r")\b") for code, words in KEYWORDS.items()
}


@dataclass(frozen=True)
class Mention:
    """One keyword found: its code, the words as written, and whether they were negated."""

    code: str
    words: str
    is_negated: bool


def mentions(text: str) -> tuple[Mention, ...]:
    """Every keyword of the table in `text`, in order, with negation judged per clause."""
    folded = text.casefold().replace("\u2019", "'")
    found: list[tuple[int, Mention]] = []
    start = 0
    for clause_end in [*(m.span() for m in _CLAUSE.finditer(folded)), (len(folded), len(folded))]:
        clause = folded[start : clause_end[0]]
        found.extend((start + at, mention) for at, mention in _in_clause(clause))
        start = clause_end[1]
    return tuple(mention for _, mention in sorted(found, key=lambda item: item[0]))


def mentioned(text: str) -> dict[str, str]:
    """The codes that `text` affirms at least once, with the words that say so."""
    affirmed: dict[str, str] = {}
    for mention in mentions(text):
        if not mention.is_negated:
            affirmed.setdefault(mention.code, mention.words)
    return affirmed


def _in_clause(clause: str) -> list[tuple[int, Mention]]:
    found: list[tuple[int, Mention]] = []
    start, reaches_on = 0, False
    for segment in clause.split(","):
        matches = _matches(segment)
        negation = _first_negation(segment)
        is_bare = _is_bare(segment[negation or 0 :], matches)
        for code, match in matches:
            is_negated = _is_negated(segment, match.start()) or (reaches_on and is_bare)
            found.append((start + match.start(), Mention(code, match.group(), is_negated)))
        reaches_on = is_bare and bool(matches) and (negation is not None or reaches_on)
        start += len(segment) + 1
    return found


def _matches(segment: str) -> list[tuple[str, re.Match[str]]]:
    return [
        (code, match) for code, pattern in _PATTERNS.items() for match in pattern.finditer(segment)
    ]


def _first_negation(segment: str) -> int | None:
    found = _NEGATION.search(segment)
    return found.end() if found else None


def _is_bare(text: str, matches: list[tuple[str, re.Match[str]]]) -> bool:
    """Whether `text` is nothing but keywords and the words that join a list."""
    for _, match in matches:
        text = text.replace(match.group(), " ")
    return not re.sub(r"\b(?:and|or|nor|any|the|a|an|of)\b", " ", text).strip()


def _is_negated(segment: str, at: int) -> bool:
    """Whether a negation stands before `at` and nothing has affirmed again in between."""
    before = segment[:at]
    last = None
    for match in _NEGATION.finditer(before):
        last = match
    if last is None:
        return False
    between = before[last.end() :]
    if _AFFIRMS.search(between) or _ENDS.search(between):
        return False
    joined = between.rpartition(" and ")
    is_of_a_verb = last.group() in _OF_A_VERB
    return not (is_of_a_verb and joined[1] and not _matches(joined[0]))
