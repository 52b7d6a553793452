"""How the project is written: who imports whom, sizes, names, documentation, what lies where."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

import pytest
from importlinter.api import read_configuration
from importlinter.application.use_cases import SUCCESS, lint_imports

from fhir_server.settings import Settings
from tests.project import names, sizes
from tests.project.sources import ROOT, Source, product, sources, texts, tracked

TOP_LEVEL = frozenset(
    (
        *(".ci", ".dockerignore", ".env.example", ".gitattributes", ".gitignore", "CHANGELOG.md"),
        *("LICENSE", "Makefile", "README.md", "bench", "deploy", "deploy.sh", "docker-compose.yml"),
        *("docs", "fhir_server", "models", "pyproject.toml", "quickstart.sh", "requirements.lock"),
        *("smart_app", "terminology", "tests"),
    )
)
REGISTRY_HOSTS = re.compile(
    r"(pypi|pythonhosted|npmjs|crates|golang|maven|debian)\.(org|io|com|net)\b", re.IGNORECASE
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|pragma: no cover")
SETTING = re.compile(r"\bMEDSAGE_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
# Read before there are settings, by one development command, or by tests alone.
OTHER_VARIABLES = frozenset(
    {"MEDSAGE_SECRETS_DIR", "MEDSAGE_MONGODB_STANDIN", "MEDSAGE_PROCESSES"}
    | {"MEDSAGE_TEST_MONGODB_URI", "MEDSAGE_TEST_SCREENSHOTS"}
)
# Names that tests misspell on purpose, or use as an example of a family.
SETTINGS_ARE_TRIED_IN = ("tests/*settings*", "tests/*configuration*")


def listing(found: list[str]) -> str:
    """One finding a line, as an editor or terminal can open it."""
    return "\n".join(["", *found])


def test_imports_keep_their_contracts(capfd: pytest.CaptureFixture[str]) -> None:
    assert read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    outcome = lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None)
    assert outcome is SUCCESS, capfd.readouterr().out


@pytest.mark.parametrize(
    "check",
    [
        sizes.too_long,
        sizes.unexplained,
        sizes.too_many_methods,
        names.empty_names,
        names.standard_names,
        names.undocumented,
    ],
)
def test_every_module_keeps_the_house_style(check: Callable[[Source], Iterator[str]]) -> None:
    found = [each for source in sources() for each in check(source)]
    assert not found, listing(found)


def test_an_explained_exception_is_still_one() -> None:
    beyond = {name for source in sources() for name, _ in sizes.oversized(source)}
    assert sizes.EXPLAINED.keys() <= beyond


def test_the_command_starts_with_no_extra_but_vision() -> None:
    hidden = ("pymongo", "bson", "redis", "google", "tensorflow", "keras", "pytest")
    hide = f"import sys; sys.modules.update(dict.fromkeys({hidden}))"
    start = f"{hide}; sys.argv = ['medsage', '--help']; from deploy.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", start], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_root_holds_only_what_belongs_there() -> None:
    assert {name.split("/")[0] for name in tracked()} <= TOP_LEVEL


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{source.name}: {match.group()}"
        for source in product()
        for match in UNFINISHED.finditer(source.text)
    ]
    assert not found, listing(found)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in texts().items()
        for match in REGISTRY_HOSTS.finditer(text)
    ]
    assert not found, listing(found)


def test_every_setting_is_documented_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented = set(SETTING.findall(example))
    wanted = {f"MEDSAGE_{name.upper()}" for name in Settings.model_fields}
    assert documented >= wanted, sorted(wanted - documented)
    assert documented <= wanted | OTHER_VARIABLES, sorted(documented - wanted)


def test_every_setting_says_what_it_does() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_no_file_speaks_of_a_setting_that_does_not_exist() -> None:
    known = {f"MEDSAGE_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    found = [
        f"{name}: {word}"
        for name, text in texts().items()
        if not any(fnmatch(name, pattern) for pattern in SETTINGS_ARE_TRIED_IN)
        for word in set(SETTING.findall(text)) - known
    ]
    assert not found, listing(found)
