"""`medsage models recall`: in whose name a recall is asked for."""

import os
import pwd
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.commands import models
from deploy.recalling import Order

ASKED = ["models", "recall", "Device/1", "--reason", "Mislabelled"]


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None]]:
    """What the server was asked: the operator, and whose token it was."""
    asked: list[tuple[str | None, str | None]] = []

    async def recalled(settings: Any, order: Order, token: str | None) -> dict[str, str]:
        said = {p["name"]: p.get("valueString") for p in order.parameters()["parameter"]}
        asked.append((said.get("operator"), token))
        return {"status": "open"}

    monkeypatch.setattr(models, "recalled", recalled)
    return asked


def test_without_a_token_the_account_of_the_system_is_named(
    orders: list[tuple[str | None, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    said = CliRunner().invoke(app, ASKED)
    assert (said.exit_code, said.output) == (0, "status: open\n")
    assert orders == [(pwd.getpwuid(os.getuid()).pw_name, None)]


def test_with_a_token_it_is_whose_token_it_is(
    orders: list[tuple[str | None, str | None]],
) -> None:
    said = CliRunner().invoke(app, [*ASKED, "--token", "-"], input="ada's token\n")
    assert said.exit_code == 0, said.output
    assert orders == [(None, "ada's token")]
