"""The official examples, read from the reference material beside the checkout."""

import io
import lzma
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[2].parent / "shared/conformance/r4-json.tar.xz"


@pytest.fixture(scope="session")
def examples() -> dict[str, bytes]:
    """The 720 official R4 examples by name."""
    if not ARCHIVE.exists():
        pytest.skip(f"not run: the official examples are not at {ARCHIVE}")
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(ARCHIVE.read_bytes()))) as archive:
        files = [each for each in archive if each.name.endswith(".json")]
        contents = ((Path(each.name).stem, archive.extractfile(each)) for each in files)
        return {name: content.read() for name, content in contents if content is not None}
