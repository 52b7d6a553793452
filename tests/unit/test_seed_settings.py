"""Names of settings: older ones are translated, misspelt ones stop the start."""

import re
from pathlib import Path

import pytest

from fhir_server.load_settings import UnusableSettings, load
from fhir_server.seed_settings import SEED_NAMES, known_names, translated, unknown_names
from fhir_server.settings import Settings

SEED = {
    "MONGODB_URI": "mongodb://user:pass@db.example/?replicaSet=rs0",
    "DATABASE_NAME": "clinic",
    "SECRET_KEY": "an-older-secret-of-enough-length-0123",
    "GOOGLE_AI_API_KEY": "AIza-example",
    "MAX_CONTENT_LENGTH": "1048576",
    "LOG_LEVEL": "WARNING",
    "HEALTH_CHECK_INTERVAL": "45",
    "FLASK_ENV": "production",
}


def test_each_older_name_sets_the_setting_of_today() -> None:
    settings, lines = load(SEED)
    assert settings.mongodb_uri is not None
    assert settings.mongodb_uri.get_secret_value() == SEED["MONGODB_URI"]
    assert settings.mongodb_database == "clinic"
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == SEED["SECRET_KEY"]
    assert settings.gemini_api_key is not None
    assert settings.gemini_api_key.get_secret_value() == "AIza-example"
    assert settings.max_upload_bytes == 1048576
    assert settings.log_level == "warning"
    assert settings.health_seconds == 45
    assert settings.profile == "prod"
    assert len(lines) == len(SEED_NAMES) == len(SEED)


def test_the_start_log_says_what_each_name_became_and_shows_no_secret() -> None:
    _, lines = translated(SEED)
    assert "DATABASE_NAME is read as MEDSAGE_MONGODB_DATABASE = clinic" in lines
    text = "\n".join(lines)
    for name in ("MONGODB_URI", "SECRET_KEY", "GOOGLE_AI_API_KEY"):
        assert SEED[name] not in text


def test_the_name_of_today_wins_over_the_older_one() -> None:
    settings, lines = load({"LOG_LEVEL": "ERROR", "MEDSAGE_LOG_LEVEL": "debug"})
    assert settings.log_level == "debug"
    assert lines == ["LOG_LEVEL is not used: MEDSAGE_LOG_LEVEL is set too"]


def test_an_older_name_with_a_value_of_no_meaning_stops_the_start_by_name() -> None:
    with pytest.raises(UnusableSettings, match="MEDSAGE_PROFILE: "):
        load({"FLASK_ENV": "holiday"})


def test_every_older_name_leads_to_a_real_setting() -> None:
    assert {new for new, _ in SEED_NAMES.values()} <= known_names()


def test_a_misspelt_name_stops_the_start_with_the_nearest_real_one() -> None:
    with pytest.raises(UnusableSettings) as stopped:
        load({"MEDSAGE_MONGO_URI": "mongodb://x", "PATH": "/bin"})
    assert str(stopped.value) == (
        "MEDSAGE_MONGO_URI is not a setting; did you mean MEDSAGE_MONGODB_URI?"
    )


def test_names_for_the_tests_and_of_others_are_left_alone() -> None:
    others = ["MEDSAGE_TEST_MONGODB_URI", "MEDSAGE_MONGODB_STANDIN", "MEDSAGE_PROCESSES", "HOME"]
    others += ["MEDSAGE_SECRETS_DIR"]
    assert unknown_names(others) == []


def test_a_value_that_cannot_be_used_is_named_without_being_shown() -> None:
    with pytest.raises(UnusableSettings) as stopped:
        load({"MEDSAGE_MAX_UPLOAD_BYTES": "sixteen", "MEDSAGE_ROLE": "queen"})
    assert "MEDSAGE_MAX_UPLOAD_BYTES: " in str(stopped.value)
    assert "MEDSAGE_ROLE: " in str(stopped.value)
    assert "sixteen" not in str(stopped.value)


def test_secrets_come_from_files_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "medsage_secret_key").write_text("from-a-file\n")
    (tmp_path / "medsage_redis_url").write_text("redis://from-a-file\n")
    (tmp_path / "tls.key").write_text("not a setting")
    settings, _ = load(
        {"MEDSAGE_SECRETS_DIR": str(tmp_path), "MEDSAGE_REDIS_URL": "redis://from-environ"}
    )
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == "from-a-file"
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://from-environ"


def test_a_misspelt_secret_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "medsage_secretkey").write_text("x")
    with pytest.raises(UnusableSettings, match="did you mean MEDSAGE_SECRET_KEY"):
        load({"MEDSAGE_SECRETS_DIR": str(tmp_path)})


def test_an_env_file_may_hold_both_kinds_of_names(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DATABASE_NAME=clinic\nMEDSAGE_WORKER_CONCURRENCY=3\nEDITOR=vi\n")
    settings, lines = load({}, file)
    assert (settings.mongodb_database, settings.worker_concurrency) == ("clinic", 3)
    assert len(lines) == 1


def test_an_empty_value_counts_as_not_set() -> None:
    settings, lines = load({"MEDSAGE_REDIS_URL": "", "SECRET_KEY": ""})
    assert settings.redis_url is None
    assert settings.secret_key is None
    assert lines == []


def test_the_example_file_documents_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")
    written = dict(re.findall(r"^(MEDSAGE_\w+)=(.*)$", text, re.MULTILINE))
    assert set(written) == known_names()
    for name, field in Settings.model_fields.items():
        value = written[f"MEDSAGE_{name.upper()}"]
        default = "" if field.default is None else str(field.default)
        assert value == (default.lower() if isinstance(field.default, bool) else default), name
    for old, (new, _) in SEED_NAMES.items():
        assert re.search(rf"^# {old} +is {new}\b", text, re.MULTILINE), old


def test_the_example_file_can_be_used_as_it_is() -> None:
    settings, lines = load({}, Path(__file__).parents[2] / ".env.example")
    assert lines == []
    assert settings == Settings(_env_file=None)  # type: ignore[call-arg]
