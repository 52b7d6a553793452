"""The settings as a start finds them: environment, `.env`, files in a folder of secrets."""

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import ValidationError

from fhir_server.seed_settings import (
    PREFIX,
    SECRETS_DIR,
    known_names,
    translated,
    unknown_names,
)
from fhir_server.settings import Settings


class UnusableSettings(ValueError):
    """The start must stop; each line of the text names a variable and what is wrong with it."""


def load(environ: Mapping[str, str], env_file: Path | None = None) -> tuple[Settings, list[str]]:
    """The settings, and lines for the start log about older names.

    `environ` wins over a secret file, that over `env_file` (which need not exist). Raises
    UnusableSettings for unknown `MEDSAGE_` names and for values that can't be used.
    """
    written = dotenv_values(env_file) if env_file is not None else {}
    variables = {name: value for name, value in written.items() if value is not None}
    folder = environ.get(SECRETS_DIR) or variables.get(SECRETS_DIR)
    variables |= _secrets(Path(folder)) if folder else {}
    variables |= environ
    if unknown := unknown_names(variables):
        raise UnusableSettings("\n".join(unknown))
    older, lines = translated(variables)
    given = {name: variables[name] for name in known_names() - {SECRETS_DIR} if name in variables}
    return _settings({name: value for name, value in given.items() if value} | older), lines


def _secrets(folder: Path) -> dict[str, str]:
    """The files of the folder that are named like settings, in lower case, as variables."""
    if not folder.is_dir():
        raise UnusableSettings(f"{SECRETS_DIR}: {folder} is not a folder")
    found = {}
    try:
        for file in sorted(folder.iterdir()):
            if file.name.lower().startswith(PREFIX.lower()) and file.is_file():
                found[file.name.upper()] = _content(file)
    except OSError as problem:
        raise UnusableSettings(
            f"{SECRETS_DIR}: {problem.filename or folder} can't be read: {problem.strerror}; give"
            " it to the user that runs this"
        ) from None
    return found


def _content(file: Path) -> str:
    """Without the ends of lines that an editor puts behind it; what else is around it was put
    there by mistake, and no secret of ours has any of it."""
    try:
        return file.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise UnusableSettings(f"{file.name.upper()}: {file} is no text (UTF-8)") from None


def _settings(variables: Mapping[str, str]) -> Settings:
    values = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items()}
    try:
        # All sources were read above; what pydantic would read again could be misspelt.
        return Settings(_env_file=None, _env_ignore_empty=True, **values)  # type: ignore[call-arg, arg-type]
    except ValidationError as problem:
        lines = [
            f"{PREFIX}{'.'.join(str(part) for part in error['loc']).upper()}: {error['msg']}"
            for error in problem.errors(include_input=False)
        ]
        raise UnusableSettings("\n".join(lines)) from None
