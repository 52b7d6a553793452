"""Hashes of what made a result, stored with it, so that it can be computed again or compared."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_IMAGE_CODE = ("malaria/*.py", "smear_report.py", "wording.py")
STATEMENTS_DIGEST = ("language-model-sha256", "Hash of what the language model said")


@cache
def image_code_sha256() -> str:
    """SHA-256 over the code that reads images and words the answer, as it lies here."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _IMAGE_CODE for path in _HERE.glob(pattern)):
        digest.update(path.relative_to(_HERE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def statements_sha256(lines: Iterable[str]) -> str:
    """SHA-256 over the statements of a language model, as they are written."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
