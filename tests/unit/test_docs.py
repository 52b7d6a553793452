"""What the documents point at exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md") for path in ROOT.glob(pattern)
)
# Pictures are taken by the browser journey.
TAKEN = "docs/images/"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target and TAKEN not in str((page.parent / target).resolve()):
            assert (page.parent / target).exists(), target
    named = re.findall(r"`((?:fhir_server|models|smart_app|deploy|tests|docs)/[\w./-]+)`", text)
    for path in named:
        assert (ROOT / path).exists() or path.startswith("deploy/secrets"), path


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs/adr"
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_the_verbs_of_deploy_sh_in_the_documents_are_its_verbs() -> None:
    script = (ROOT / "deploy.sh").read_text("utf-8")
    for page in PAGES:
        for verb in re.findall(r"\./deploy\.sh ([a-z]+)", page.read_text("utf-8")):
            assert re.search(rf"^  {verb}\b", script, re.MULTILINE), f"{page}: {verb}"


def test_every_reading_of_the_standard_that_the_code_names_is_written_down() -> None:
    page = (ROOT / "docs/spec-readings.md").read_text("utf-8")
    headings = [each.replace("`", "") for each in re.findall(r"^### (.*)$", page, re.MULTILINE)]
    named = [
        " ".join(reading.replace("`", "").split())
        for path in [*ROOT.glob("fhir_server/**/*.py"), *ROOT.glob("bench/**/*.py")]
        for reading in re.findall(r'spec-readings\.md,\s+"([^"]+)"', path.read_text("utf-8"))
    ]
    assert named
    assert not [each for each in named if not any(each in heading for heading in headings)]
