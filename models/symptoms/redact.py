"""What must not cross a border: identifiers in text that leaves, doses in text that comes back."""

import re

_REDACTIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("[email]", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("[link]", re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)),
    (
        "[date]",
        re.compile(
            r"\b(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|"
            r"\d{1,2}(?:st|nd|rd|th)? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
            r"(?: \d{2,4})?)\b",
            re.IGNORECASE,
        ),
    ),
    ("[number]", re.compile(r"(?<![\w.])\+?\d(?:[ ()-]?\d){6,}(?!\w)")),
    ("[number]", re.compile(r"\b(?=\w*\d\w*\d\w*\d)(?=\w*[A-Za-z])[A-Z0-9]{6,}\b")),
    (
        "[name]",
        re.compile(
            r"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sr|Sister|Nurse)\.? (?:[A-Z][\w'’-]+ ?)+|"
            r"(?i:\b(?:named?|called|name is|son of|daughter of|wife of|husband of|mother of)) "
            r"(?:[A-Z][\w'’-]+ ?)+"
        ),
    ),
    (
        "[address]",
        re.compile(
            r"\b\d+[a-z]? (?:[A-Z][\w'’-]+ ){1,3}"
            r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Close|Way)\b\.?"
        ),
    ),
)

# Words that speak to software rather than of a patient. The rules still read them.
_COMMAND = re.compile(
    r"[^.;!?\n]*(?:"
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.;!?\n]{0,40}"
    r"\b(?:instructions?|prompts?|rules?|guidelines?|above|previous|prior|everything)\b|"
    r"\b(?:system|developer) (?:prompt|message|role)\b|"
    r"\byou are (?:now|an? (?:ai|model|assistant))\b|"
    r"\bas an? (?:ai|language model)\b|</?(?:system|assistant|user)>|\bnew instructions?\b"
    r")[^.;!?\n]*",
    re.IGNORECASE,
)
COMMAND_MARK = "[not about the patient]"

_UNITS = (
    r"(?:mg|mcg|µg|ug|micrograms?|milligrams?|grams?|g|ml|millilit(?:er|re)s?|iu|units?|"
    r"tablets?|tabs?|capsules?|caps|pills?|drops?|puffs?|ampoules?|vials?|sachets?|"
    r"teaspoons?|tsp|suppositor(?:y|ies)|doses?)"
)
_COUNTS = r"(?:\d[\d.,/]*|one|two|three|four|five|six|eight|ten|half|single|double)"
# A laboratory value such as "7 g/dL" is no dose; "mg/kg" is one.
_DOSE = re.compile(
    rf"\b{_COUNTS}(?:\s*(?:-|–|to)\s*{_COUNTS})?[\s-]*{_UNITS}\b(?!\s*/\s*(?:dl|l|ml)\b)|"
    r"\b(?:a|an|another|half an?) (?:tablet|tab|capsule|pill|drop|puff|vial|sachet|dose)\b|"
    r"\bper kg\b|/\s*kg\b|"
    r"\b(?:once|twice|thrice|(?:two|three|four|\d) times) (?:a |per )?(?:day|daily|week)\b|"
    r"\b(?:every|each) (?:\d+|four|six|eight|twelve)\s*(?:h|hrs?|hours?)\b|"
    r"\b(?:bid|tid|qid|tds|qds|bd|od|prn|stat)\b",
    re.IGNORECASE,
)


def redact(text: str, identifiers: tuple[str, ...] = ()) -> str:
    """`text` without the given words that name the patient, and without e-mail addresses, links,
    dates, long numbers, titled names, street addresses, medicine doses and sentences that are
    orders to software."""
    text = _COMMAND.sub(COMMAND_MARK, text)
    for word in sorted((word for word in identifiers if len(word) > 1), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "[name]", text, flags=re.IGNORECASE)
    for mark, pattern in _REDACTIONS:
        text = pattern.sub(mark, text)
    return _DOSE.sub("[dose]", text)


def has_command(text: str) -> bool:
    """Whether `text` holds a sentence that is an order to software."""
    return _COMMAND.search(text) is not None


def has_identifier(text: str) -> bool:
    """Whether `text` holds what looks like an address, a link, a date or an identifying number."""
    return any(pattern.search(text) for mark, pattern in _REDACTIONS if mark != "[name]")


def has_dose(text: str) -> bool:
    """Whether `text` gives an amount or a schedule of a medicine."""
    return _DOSE.search(text) is not None
