"""What the documents point at exists."""

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest

from bench.registry import BENCHES
from fhir_server.security.authorization.users import PEOPLES_ROLES
from tests.command_line import require_command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md") for path in ROOT.glob(pattern)
)
# Pictures are taken by the browser journey.
TAKEN = "docs/images/"
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# In other places the word names a namespace or a secret.
_COMMAND = re.compile(r"(?<!namespace )(?<!generic )\bmedsage ((?:[a-z][\w-]* ?)+(?:.*--[\w-]+)?)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target and TAKEN not in str((page.parent / target).resolve()):
            assert (page.parent / target).exists(), target
    named = re.findall(r"`((?:fhir_server|models|smart_app|deploy|tests|docs)/[\w./-]+)`", text)
    for path in named:
        assert (ROOT / path).exists() or path.startswith("deploy/secrets"), path


@cache
def headings(page: Path) -> frozenset[str]:
    """The anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", _FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    shown = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line).lower() for line in lines]
    return frozenset(re.sub(r"[^\w\- ]", "", line).strip().replace(" ", "-") for line in shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_headings_that_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^):#\s]*)#([\w-]+)\)", page.read_text("utf-8")):
        other = (page.parent / target).resolve() if target else page
        assert other.suffix != ".md" or anchor in headings(other), f"{target}#{anchor}"


def commands_named(page: Path) -> list[list[str]]:
    """The words behind `medsage` of every command of a page, in its text and in its blocks."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    blocks = [re.sub(r"\s#.*", "", line) for b in _FENCED.findall(text) for line in b.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", _FENCED.sub("", text))
    parts = [part for each in (*blocks, *spans) for part in re.split(r"\||&&|;|\$\(", each)]
    found = [match for part in parts if (match := _COMMAND.search(part))]
    return [_words(match.string[match.start(1) :]) for match in found]


def _words(text: str) -> list[str]:
    return shlex.split(
        re.sub(r"['\"]", "", re.sub(r"'[^']*'|\"[^\"]*\"", "x", text.partition(")")[0]))
    )


# The changelog writes `a|b` for several.
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CHANGELOG.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    for words in commands_named(page):
        require_command([word for word in words if word != "…"])


def test_commands_are_found_in_texts_and_in_blocks() -> None:
    assert ["check", "--data", "data"] in commands_named(ROOT / "docs/operating.md")
    assert ["user", "list"] in commands_named(ROOT / "docs/operating.md")
    assert ["audit", "export", "--to", "trail.ndjson"] in commands_named(ROOT / "docs/auditing.md")


def test_the_roles_of_people_are_told() -> None:
    page = (ROOT / "docs/operating.md").read_text("utf-8")
    told = re.search(r"Roles: ([\w, ]+)\.", page)
    assert told
    assert set(told[1].split(", ")) == PEOPLES_ROLES


def test_every_bench_has_a_line() -> None:
    page = (ROOT / "docs/performance.md").read_text("utf-8")
    table = page.partition("| bench | what it does |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(BENCHES)


def test_every_dependency_is_told_with_its_use_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for n in extras if n != "dev" for each in extras[n])]
    names = {re.split(r"[\[>=<; ]", each)[0] for each in wanted} - {project["name"]}
    page = (ROOT / "README.md").read_text("utf-8").partition("| package | for |")[2]
    rows = page.partition("\n\n")[0].splitlines()[2:]
    assert {name for row in rows for name in row.split("|")[1].strip().split(", ")} == names


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


def test_what_the_readme_says_of_the_malaria_model_is_what_its_page_shows() -> None:
    page = (ROOT / "docs/models/malaria.md").read_text("utf-8")
    seeds = [row.split("|") for row in re.findall(r"^\| 2024\d{4} \|.*$", page, re.MULTILINE)]
    assert len(seeds) == 3
    said = (ROOT / "README.md").read_text("utf-8")
    for column, name in ((2, "AUC"), (6, "sensitivity")):
        found = sorted(f"{float(row[column]):.3f}".removeprefix("0") for row in seeds)
        assert f"{name} of {found[0]} to {found[-1]}" in said
