"""The secret files of the production shape: `python -m deploy.secret_files FOLDER` makes those
that are missing and leaves the others alone; with `--new redis_password` (or
`mongo_medsage_password`) it makes this password anew. The certificate is not made here."""

import base64
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from joserfc.jwk import ECKey

from fhir_server.storage.master_keys import new_master_key

MEMBERS = "mongo-1:27017,mongo-2:27017,mongo-3:27017"
HOLDERS: Mapping[str, str] = {
    "mongo_medsage_password": "medsage_mongodb_uri",
    "redis_password": "medsage_redis_url",
}
"""Password → the address that holds it, too."""
_KEYFILE_BYTES = 756  # what MongoDB's manual takes; in base64 the most that it accepts


def _password(_: Path) -> str:
    # Letters and digits only: these words also stand in URLs.
    return secrets.token_hex(32)


def _key(_: Path) -> str:
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True)
    key.ensure_kid()
    return json.dumps(key.as_dict(private=True))


def _master_key(_: Path) -> str:
    return new_master_key()


def _keyfile(_: Path) -> str:
    return base64.b64encode(secrets.token_bytes(_KEYFILE_BYTES)).decode()


def _mongodb_uri(folder: Path) -> str:
    password = (folder / "mongo_medsage_password").read_text().strip()
    return f"mongodb://medsage:{password}@{MEMBERS}/?replicaSet=medsage&authSource=medsage"


def _redis_url(folder: Path) -> str:
    return f"redis://:{(folder / 'redis_password').read_text().strip()}@redis:6379/0"


def _nothing(_: Path) -> str:
    return ""


FILES: Mapping[str, Callable[[Path], str]] = {
    "mongo_keyfile": _keyfile,
    "mongo_root_password": _password,
    "mongo_medsage_password": _password,
    "redis_password": _password,
    "grafana_password": _password,
    # Not named like a setting: the setting is the path of the file.
    "encryption_master_key": _master_key,
    "backup_key": _master_key,
    "medsage_secret_key": _password,
    "medsage_app_key": _key,
    "medsage_worker_key": _key,
    # Made after the passwords that they contain.
    "medsage_mongodb_uri": _mongodb_uri,
    "medsage_redis_url": _redis_url,
    # Empty means not set: without a key the rule engine analyses alone.
    "medsage_gemini_api_key": _nothing,
    # Only where backups go to an S3-compatible store.
    "medsage_backup_s3_key_id": _nothing,
    "medsage_backup_s3_key": _nothing,
    # Only where people may sign in at other OpenID providers; it holds our secrets there.
    "medsage_openid_providers": _nothing,
}
"""Every secret file but the certificate, in the order in which they are made."""


def make_missing(folder: Path) -> list[str]:
    """Write the files that are not there; their names. The folder is open to its owner alone;
    the files in it are readable, because each container reads them as a user of its own."""
    return _made(folder, FILES)


def make_empty(folder: Path) -> list[str]:
    """Of the missing files only those that are empty until the operator writes into them; their
    names. An installation that an earlier version made may lack one."""
    return _made(folder, {name: made for name, made in FILES.items() if made is _nothing})


def _made(folder: Path, files: Mapping[str, Callable[[Path], str]]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name, content in files.items():
        if (folder / name).exists():
            continue
        text = content(folder)
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        (folder / name).chmod(0o444)
        made.append(name)
    return made


class NotHere(Exception):
    """The password can't be made anew in the folder; the text says why."""


def renew(folder: Path, name: str) -> list[str]:
    """Another password, in the address that holds it too; the names of the files, which are
    replaced and not written over. NotHere when it is none of ours."""
    holder = HOLDERS.get(name)
    if holder is None:
        raise NotHere(f"{name} can't be made anew here; these can: {', '.join(HOLDERS)}")
    try:
        old, address = (folder / name).read_text().strip(), (folder / holder).read_text()
    except FileNotFoundError as missing:
        raise NotHere(f"there is no {missing.filename}") from missing
    if f":{old}@" not in address:
        raise NotHere(
            f"{holder} does not hold {name}: change the password where it is kept, then write the"
            f" new address into {folder / holder}"
        )
    new = _password(folder)
    _replace(folder / holder, address.replace(f":{old}@", f":{new}@"))
    _replace(folder / name, new)
    return [holder, name]


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(handle, "w") as written:
        written.write(text)
    draft.chmod(stat.S_IMODE(file.stat().st_mode))
    draft.replace(file)


def main(arguments: list[str]) -> int:
    """Make what is missing in the folder named, or the password anew, and say what that was."""
    match arguments:
        case [folder]:
            for name in make_missing(Path(folder)):
                print(f"made {name}")
        case [folder, "--new", name]:
            try:
                made = renew(Path(folder), name)
            except NotHere as problem:
                print(problem, file=sys.stderr)
                return 1
            for each in made:
                print(f"made {each} anew")
        case _:
            print("usage: python -m deploy.secret_files FOLDER [--new PASSWORD]", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
