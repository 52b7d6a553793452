"""What every page and report of the decision support says of itself, by language: one table.

The words are the same promise in each language; none of the translations has been reviewed by a
clinician who speaks it (docs/patients-rights.md says so).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
DEFAULT = "en"


@dataclass(frozen=True, slots=True)
class Disclaimer:
    """The texts of one language (a BCP-47 tag). `caution`: who decides; `use`: what the software
    is and is not; `limits`: what the image model can't say."""

    language: str
    caution: str
    use: str
    limits: str


_TEXTS = (
    Disclaimer(
        "en",
        "Decision support. A qualified person examines and signs.",
        "Decision support for malaria. A qualified person examines and signs. Research use; not a "
        "medical device.",
        "The image model can't name a species and does not exclude malaria.",
    ),
    Disclaimer(
        "de",
        "Entscheidungshilfe. Eine qualifizierte Person untersucht und unterschreibt.",
        "Entscheidungshilfe bei Malaria. Eine qualifizierte Person untersucht und unterschreibt. "
        "Nur für die Forschung; kein Medizinprodukt.",
        "Das Bildmodell kann keine Art benennen und schließt Malaria nicht aus.",
    ),
    Disclaimer(
        "fr",
        "Aide à la décision. Une personne qualifiée examine et signe.",
        "Aide à la décision pour le paludisme. Une personne qualifiée examine et signe. Réservé à "
        "la recherche ; ce n'est pas un dispositif médical.",
        "Le modèle d'image ne peut pas nommer l'espèce et n'exclut pas le paludisme.",
    ),
    Disclaimer(
        "es",
        "Apoyo a la decisión. Una persona cualificada examina y firma.",
        "Apoyo a la decisión en malaria. Una persona cualificada examina y firma. Solo para "
        "investigación; no es un producto sanitario.",
        "El modelo de imágenes no puede nombrar la especie y no descarta la malaria.",
    ),
    Disclaimer(
        "pt",
        "Apoio à decisão. Uma pessoa qualificada examina e assina.",
        "Apoio à decisão para malária. Uma pessoa qualificada examina e assina. Apenas para "
        "investigação; não é um dispositivo médico.",
        "O modelo de imagem não consegue indicar a espécie e não exclui a malária.",
    ),
)
DISCLAIMERS: Mapping[str, Disclaimer] = {each.language: each for each in _TEXTS}


def disclaimer(wanted: Iterable[str]) -> Disclaimer:
    """The texts in the first of the languages that there are texts in, a region standing for its
    language (RFC 4647, lookup); English when there is none."""
    for tag in wanted:
        found = DISCLAIMERS.get(tag.strip().lower().replace("_", "-").partition("-")[0])
        if found is not None:
            return found
    return DISCLAIMERS[DEFAULT]


def accepted_languages(header: str) -> list[str]:
    """The languages of an Accept-Language header (RFC 9110, 12.5.4), the best first; what can't be
    read is left out."""
    found: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, _, weight = part.partition(";")
        name, _, number = weight.strip().partition("=")
        try:
            quality = float(number) if name.strip().lower() == "q" else 1.0
        except ValueError:
            continue
        if tag.strip() and 0 < quality <= 1:
            found.append((-quality, tag.strip()))
    return [tag for _, tag in sorted(found, key=lambda each: each[0])]


def languages_of(patient: Resource) -> list[str]:
    """The languages in which a patient may be spoken to, the preferred first."""
    said = sorted(patient.get("communication", ()), key=lambda each: not each.get("preferred"))
    return [
        str(coding["code"])
        for each in said
        for coding in each.get("language", {}).get("coding", ())
        if "code" in coding
    ]
