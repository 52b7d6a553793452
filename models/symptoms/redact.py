"""What must not cross a border: identifiers in text that leaves, doses in text that comes back."""

import re

from models.symptoms.plain_words import PLAIN_WORDS
from models.symptoms.words import mentions

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
# Of what identifies people, what has a shape. "3/11" may be a date or no date: it goes.
_REDACTIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("[email]", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("[link]", re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)),
    (
        "[date]",
        re.compile(
            r"\b(?:\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|"
            rf"{_DAY}(?: of)?[ -]{_MONTH}(?:,?[ -]\d{{2,4}})?|{_MONTH} {_DAY}(?:,? \d{{4}})?|"
            r"(?:[12]?\d|3[01])/(?:1[0-2]|0?[1-9])|(?:19|20)\d\d)\b(?![/.]\d)",
            re.IGNORECASE,
        ),
    ),
    ("[number]", re.compile(r"(?<![\w.])\+?\d(?:[ ()-]?\d){6,}(?!\w)")),
    ("[number]", re.compile(r"(?<![\w.])\d{5,}(?!\w)")),
    ("[number]", re.compile(r"\b(?=\w*\d\w*\d\w*\d)(?=\w*[A-Za-z])[A-Z0-9]{6,}\b")),
    ("[number]", re.compile(r"\b[A-Z]{2,}[/-]\d[\w/-]*")),
    (
        "[number]",
        re.compile(
            r"\b(?:mrn|id|nin|nhif|nhis|passport|file|folder|card|hospital|registration|reg|ip|op)"
            r"(?: ?(?:no|nr|number)\b)?[.:#]* ?(?:[a-z]+[/-]?)?\d[\w/-]*",
            re.IGNORECASE,
        ),
    ),
    (
        "[name]",
        re.compile(
            r"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sr|Sister|Nurse)\.?(?: [A-Z][\w'’-]+)+|"
            r"\b(?i:mr|mrs|dr|prof)\.? [^\W\d_][\w'’-]+|"
            r"\b(?i:named?|called|aka)(?: is)?:?(?: [A-Z][\w'’-]+)+|"
            r"\b(?i:named?|aka)(?: is)?:? (?!is\b)[^\W\d_][\w'’-]+"
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
# A word, or the initial of a name; "P. falciparum" and "°C" are neither.
_WORD = re.compile(r"[^\W\d_]\.(?= ?[A-Z])|[^\W\d_][^\W_]+(?:['’-][^\W_]+)*")

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
    dates, numbers that may identify, names, street addresses, medicine doses and sentences that
    are orders to software.

    For a name counts what has a title, and every word with a capital that is not among
    PLAIN_WORDS, places too. A stranger's name in lower case and without a title can't be told.
    """
    text = _COMMAND.sub(COMMAND_MARK, text)
    for word in sorted((word for word in identifiers if len(word) > 1), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "[name]", text, flags=re.IGNORECASE)
    for mark, pattern in _REDACTIONS:
        text = pattern.sub(mark, text)
    text = _DOSE.sub("[dose]", text)
    return re.sub(r"\[name\](?:[ .]*\[name\])+", "[name]", _WORD.sub(_unless_a_name, text))


def _unless_a_name(found: re.Match[str]) -> str:
    """The word as it stands, or the mark of a name."""
    word = found.group()
    parts = re.split("[-]", word.replace("’", "'").casefold().removesuffix("'s"))
    is_plain = word[0].islower() or word.casefold() in PLAIN_WORDS or PLAIN_WORDS.issuperset(parts)
    return word if is_plain or mentions(word) else "[name]"


def has_command(text: str) -> bool:
    """Whether `text` holds a sentence that is an order to software."""
    return _COMMAND.search(text) is not None


def has_identifier(text: str) -> bool:
    """Whether `text` holds what looks like an address, a link, a date or an identifying number."""
    return any(pattern.search(text) for mark, pattern in _REDACTIONS if mark != "[name]")


def has_dose(text: str) -> bool:
    """Whether `text` gives an amount or a schedule of a medicine."""
    return _DOSE.search(text) is not None
