"""Hashes of what made a result, stored with it, so that it can be computed again or compared.

A hash is over whole files: the code, and every table that the code reads. Each list below names
all that its part imports; a test follows the imports, so that none is forgotten.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_SHARED = ("models/code_version.py", "models/findings.py", "fhir_server/fhir/assessment.py")
IMAGE_CODE = (
    *("models/malaria/*.py", "models/smear_*.py", "models/wording.py", *_SHARED),
    *(f"fhir_server/fhir/{name}.py" for name in ("disclaimers", "drawings", "smear_answers")),
)
RULES_CODE = (
    *("models/symptoms/*.py", "models/symptom_report.py", "fhir_server/fhir/body_size.py"),
    *_SHARED,
)
NO_RESULT = {
    "models/ai_systems.py": "says who made a result, not what it is",
    "models/card.py": "says what a model is for",
    "fhir_server/fhir/codec.py": "reads and writes JSON, whatever it says",
    "fhir_server/fhir/outcome.py": "says what is wrong with a request",
}
"""What those files import, no result depends on, and therefore no hash covers; and why."""
STATEMENTS_DIGEST = ("language-model-sha256", "Hash of what the language model said")


@cache
def image_code_sha256(root: Path = _ROOT) -> str:
    """SHA-256 over what reads images and words the answer, as it lies under `root`."""
    return _sha256(root, IMAGE_CODE)


@cache
def rules_sha256(root: Path = _ROOT) -> str:
    """SHA-256 over the symptom rules, their tables and the words of their answer."""
    return _sha256(root, RULES_CODE)


def _sha256(root: Path, patterns: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def statements_sha256(lines: Iterable[str]) -> str:
    """SHA-256 over the statements of a language model, as they are written."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
