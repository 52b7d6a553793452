"""What must not cross a border: identifiers in text that leaves, doses in text that comes back."""

import re
import unicodedata

from models.symptoms.plain_words import PLAIN_WORDS
from models.symptoms.words import mentions

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|"
    # French, Portuguese, Swahili: the languages that the clinics write in beside English
    r"janvier|f[ée]vrier|mars|avril|mai|juin|juillet|ao[ûu]t|septembre|octobre|novembre|"
    r"d[ée]cembre|janeiro|fevereiro|mar[çc]o|abril|maio|junho|julho|agosto|setembro|outubro|"
    r"novembro|dezembro|januari|februari|machi|aprili|mei|juni|julai|agosti|septemba|oktoba|"
    r"novemba|desemba)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
# Of what identifies people, what has a shape. "3/11" may be a date or no date: it goes.
_REDACTIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("[email]", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("[link]", re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)),
    ("[link]", re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|info)\b\S*", re.IGNORECASE)),
    ("[link]", re.compile(r"(?<![\w.])@\w[\w.]+")),
    # A telephone number with dots, slashes or brackets; without + or 0 it may be vital signs.
    ("[number]", re.compile(r"(?<![\w./])(?:\+|\(?0)\d*(?:[ ()./-]{0,2}\d){6,}(?!\w)")),
    (
        "[date]",
        re.compile(
            r"\b(?:\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|"
            rf"{_DAY}(?: of| de)?[ -]{_MONTH}(?:,?(?: de)?[ -]\d{{2,4}})?|"
            rf"{_MONTH} {_DAY}(?:,? \d{{4}})?|"
            r"(?:[12]?\d|3[01])/(?:1[0-2]|0?[1-9])|(?:19|20)\d\d)\b(?![/.]\d)",
            re.IGNORECASE,
        ),
    ),
    ("[number]", re.compile(r"(?<![\w.])\+?\d(?:[ ()-]?\d){6,}(?!\w)")),
    ("[number]", re.compile(r"(?<![\w.])\d{5,}(?!\w)")),
    ("[number]", re.compile(r"\b(?=\w*\d\w*\d\w*\d)(?=\w*[A-Za-z])[A-Z0-9]{6,}\b")),
    ("[number]", re.compile(r"\b(?=(?:\w*\d){5})(?=\w*[A-Za-z])[A-Za-z0-9]{8,}\b")),
    ("[number]", re.compile(r"\b[A-Z]{2,}[/-]\d[\w/-]*")),
    (
        "[number]",
        re.compile(
            r"\b(?:mrn|id|nin|nhif|nhis|passport|file|folder|card|hospital|registration|reg|ip|op)"
            r"(?: ?(?:no|nr|number)\b)?[.:#]*[ -]?(?:[a-z]+[/-]?)?\d[\w/-]*",
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
_INITIALS = re.compile(r"\b[A-Z]\.(?: ?[A-Z]\b\.?)+")
# Words in other scripts than Latin and Greek: nobody here can tell which of them are names.
_OTHER_SCRIPT = re.compile(
    r"[\u0400-\u1dff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\ufefc\U00020000-\U0003ffff]"
    r"[\u0400-\u1dff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\ufefc\U00020000-\U0003ffff\u200c\u200d ]*"
)
_ACCENTS = "[\u0300-\u036f]*"
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

    For a name counts what has a title, initials, and every word with a capital or in another
    script that is not among PLAIN_WORDS, places too. The patient's own are known with and without
    accents, hyphens and apostrophes. A stranger's name in lower case and without a title can't be
    told.
    """
    text = _COMMAND.sub(COMMAND_MARK, text)
    text = unicodedata.normalize("NFD", text)
    for word in sorted((word for word in identifiers if len(word) > 1), key=len, reverse=True):
        text = re.sub(_spelt(word), "[name]", text, flags=re.IGNORECASE)
    text = _OTHER_SCRIPT.sub("[name] ", unicodedata.normalize("NFC", text))
    text = _INITIALS.sub(_unless_an_abbreviation, text)
    for mark, pattern in _REDACTIONS:
        text = pattern.sub(mark, text)
    text = _DOSE.sub("[dose]", text)
    return re.sub(r"\[name\](?:[ .]*\[name\])+", "[name]", _WORD.sub(_unless_a_name, text))


def _spelt(word: str) -> str:
    """A pattern of `word` in decomposed text, with any accents, and joined or parted otherwise."""
    letters = (c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    spelt = ("[-'\u2019 ]?" if c in "-'\u2019 " else re.escape(c) + _ACCENTS for c in letters)
    return rf"(?<!\w){''.join(spelt)}(?!\w)"


def _unless_an_abbreviation(found: re.Match[str]) -> str:
    letters = re.sub(r"\W", "", found.group())
    return letters if letters.casefold() in PLAIN_WORDS else "[name]"


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
