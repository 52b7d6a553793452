"""The commands of docs/operating.md, run as they stand there, by somebody who has nothing but a
checkout: an installation, an upgrade, a restore, a rotation of keys, and all the rest."""

import configparser
import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.processes.verbs import app as of_processes
from fhir_server.load_settings import load
from tests.command_line import require_command
from tests.nginx_door import free_port
from tests.operating_page import PAGE, Block, blocks, commands, newcomer, script_of

PASSWORD = "a password of a newcomer"
REASONS: Mapping[str, str] = {
    "containers": "there is no container engine on the machines of the tests",
    "processes": "it starts the whole shape: tests/journeys/test_roles.py and test_passwords.py do",
    "another-system": "it asks a record system of somebody else",
    "mongodb": "it runs this suite, on a MongoDB of the reader's",
    "token": "it asks with a token of the reader's client: tests/spec/test_policy_command.py",
    "result": "it names a result of the reader's: tests/spec/test_recall.py, test_replay.py",
    "two-people": "two people sign in for it: tests/spec/test_model_versions_command.py",
    "root": "it changes the machine",
    "network": "it asks the internet",
}
"""What a block may need that the tests have not, and why it is only looked through."""
# What a page can't say, since it is another one for each reader.
REGISTER = r"""
register() {
    python - "$1" <<'END'
import json, ssl, sys, urllib.request
asked = {"client_name": sys.argv[1], "redirect_uris": ["https://app.example/back"],
         "token_endpoint_auth_method": "none", "scope": "openid patient/*.rs",
         "grant_types": ["authorization_code"], "contacts": ["it@app.example"]}
request = urllib.request.Request("https://localhost:5000/auth/register",
    json.dumps(asked).encode(), {"Content-Type": "application/json"})
trust = ssl.create_default_context(cafile="secrets/tls.crt")
print(json.load(urllib.request.urlopen(request, context=trust))["client_id"])
END
}
ID=$(register Mine)
OTHER=$(register Other)
medsage client list --pending"""
PREPARED = {
    "medsage client list --pending": REGISTER,
    "client show ID": 'client show "$ID"',
    "client approve ID": 'client approve "$ID"',
    "client reject OTHER": 'client reject "$OTHER"',
    "client remove ID": 'client remove "$ID"',
    "keys retire KID": "keys retire \"$(medsage keys list | awk '/signs$/ {print $1; exit}')\"",
    "--role admin\n": f"--role admin <<< '{PASSWORD}\n{PASSWORD}'\n",
    "Practitioner/dr-amina\n": f"Practitioner/dr-amina <<< '{PASSWORD}\n{PASSWORD}'\n",
}
"""Words of the page and what stands in their place: names that are the reader's own, and passwords
that the reader types."""
AT_THE_END = """
echo "== The people"
medsage user list
stop
"""
FOUND = blocks()
UNITS = re.findall(r"^```ini\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def of_needs(is_needy: bool) -> list[Block]:
    return [block for block in FOUND if (block.needs is not None) == is_needy]


@pytest.mark.alertmanager
def test_the_page_can_be_followed_from_the_installation_to_its_end(tmp_path: Path) -> None:
    port = str(free_port())
    script = f"{script_of(FOUND, PREPARED)}\n{AT_THE_END}".replace("5000", port)
    with newcomer(tmp_path, MEDSAGE_DRAIN_SECONDS="0") as here:
        code, said = here.run(script, 240)
        assert code == 0, said[-4000:]
        site = here.folder / "site"
    for block in of_needs(False):
        assert f"== {block.name}" in said
    # What the chapters are for has happened.
    assert len((site / "secrets/encryption_master_key").read_text().split()) == 1
    assert "sealed under data key 2" in said
    assert "signs from" in said
    assert (site / "data-before").is_dir()
    assert list((site / "backups").glob("*/manifest.json"))
    watched = said[said.rindex("== What to watch: medsage check") :]
    assert json.loads(watched[watched.index("\n{\n") : watched.index("\n}\n") + 2])
    assert "\non-call,operations\n" in watched
    # Who was added before the restore and the rotations can be read after them.
    people = said[said.rindex("== The people") :]
    assert "The Admin" in people
    assert "Dr Amina Njoroge" in people


@pytest.mark.parametrize("block", of_needs(True), ids=lambda block: block.name)
def test_a_block_that_can_not_run_here_has_its_reason_and_is_shell(block: Block) -> None:
    assert block.needs in REASONS
    checked = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_every_reason_that_a_block_gives_is_given_for_something() -> None:
    assert {block.needs for block in of_needs(True)} <= set(REASONS)


@pytest.mark.parametrize("block", FOUND, ids=lambda block: block.name)
def test_every_command_and_option_of_a_block_exists(block: Block) -> None:
    for words in commands(block.text):
        require_command(words)


@pytest.mark.parametrize("text", UNITS)
def test_a_unit_of_systemd_starts_with_the_machine_what_is_there_as_nobody_special(
    text: str,
) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    assert unit["Service"]["User"] not in ("root", "")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    where = Path(program).parents[2]
    assert Path(unit["Service"]["WorkingDirectory"]).is_relative_to(where)
    if words[:2] == ["-m", "deploy.processes"]:
        # Those that it has started go on when it ends.
        assert unit["Service"]["KillMode"] == "process"
        require_command(words[2:], of_processes)
    else:
        require_command(words)


@pytest.mark.parametrize("words", [["user", "lst"], ["backup", "create", "--too", "x"], ["sreve"]])
def test_a_misspelt_command_is_found(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        require_command(words)


def test_settings_that_a_block_sets_can_be_used() -> None:
    lines = [line for block in FOUND for line in block.text.splitlines()]
    found = [re.match(r"(MEDSAGE_\w+)='([^']*)'$", line) for line in lines]
    given = {each[1]: each[2] for each in found if each}
    assert "MEDSAGE_RATE_LIMITS" in given
    load(given)
