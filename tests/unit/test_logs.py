"""Log lines tell where something failed, and no values that were at hand."""

import json
import logging

import pytest
import structlog

from deploy.logs import configure


@pytest.mark.parametrize("logger", ["standard", "structlog"])
def test_a_failure_is_told_by_type_and_place_alone(
    logger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    configure("info")
    try:
        secret = "Bearer of a name"
        raise ValueError(f"no such patient: {secret}")
    except ValueError:
        if logger == "standard":
            logging.getLogger("some.library").exception("it failed")
        else:
            structlog.stdlib.get_logger("some.part").exception("it failed")
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
        structlog.reset_defaults()

    line = capsys.readouterr().err.strip()
    assert "Bearer of a name" not in line
    written = json.loads(line)
    assert written["event"] == "it failed"
    assert written["exception"][0]["type"] == "ValueError"
    assert "test_logs.py" in written["exception"][0]["at"][0]
