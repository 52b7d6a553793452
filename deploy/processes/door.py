"""The shipped nginx configuration, with its containers' names and paths replaced by those of a
shape of processes."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from secrets import token_hex

NGINX = Path("deploy/nginx")
HTTPS = 443
GENERATION = "/.generation"
"""Where the inner doors say which configuration nginx goes by."""
_INNER = """\
server {{
    listen 127.0.0.1:{port};
    access_log off;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_read_timeout 120s;
    recursive_error_pages on;
    location = /.generation {{ return 200 "{generation}"; }}
    location / {{
        error_page 418 = @once;
        if ($once) {{ return 418; }}
        proxy_pass http://{upstream};
    }}
    # As at the public door: passed on again only when nobody was reached.
    location @once {{
        error_page 502 504 = @once_more;
        proxy_next_upstream off;
        proxy_pass http://{upstream};
    }}
    location @once_more {{
        error_page 502 504 = @once_last;
        if ($reached) {{ return 504; }}
        proxy_next_upstream off;
        proxy_pass http://{upstream};
    }}
    location @once_last {{
        if ($reached) {{ return 504; }}
        proxy_next_upstream off;
        proxy_pass http://{upstream};
    }}
}}
"""
_UPSTREAM = re.compile(r"upstream server \{.*?^\}\n", re.DOTALL | re.MULTILINE)
_CONTAINER = re.compile(r"^ *server server:5000 resolve (.*);$", re.MULTILINE)
_LED = r"(upstream {role} \{{\n(?:.*\n)*?)((?: *server 127\.0\.0\.1:\d+.*;\n)+)"
_MARK = re.compile(r'return 200 "[0-9a-f]*";')
_FILES = ("upstreams.conf", "inner.conf", "generation", "nginx.conf")


class Unexpected(Exception):
    """The shipped configuration lacks a line that is to be replaced; the text names it."""


def program() -> str | None:
    """nginx; Debian puts it where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def command(folder: Path, file: Path) -> list[str]:
    """What runs it in the foreground, with all that it writes in the folder."""
    # Started by root, nginx would give its workers another user, who can't write to our folder.
    user = " user root;" if os.geteuid() == 0 else ""
    found = program() or "nginx"
    start = [found, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")]
    return [*start, "-g", f"daemon off;{user}"]


def write(
    code: Path, folder: Path, secrets: Path, doors: Mapping[str, int],
    ports: Mapping[str, Iterable[int]],
) -> Path:  # fmt: skip
    """The configuration file in the folder. `doors` are the ports that nginx listens on, `ports`
    those of the roles `server`, `app` and, where it has an inner door, `worker`; `secrets` is the
    folder of the certificate and its key. `public` among the doors is the port of the base URL,
    where another listens for nginx."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped = (code / NGINX / "upstreams.conf").read_text("utf-8")
    upstreams = (_upstream(shipped, role, each) for role, each in ports.items())
    _put(folder / "upstreams.conf", "".join(upstreams))
    # It differs each time, so that one sees when nginx has taken it up.
    mark = token_hex(8)
    _put(folder / "generation", mark)
    inner = (
        _INNER.format(port=doors[role], upstream=role, generation=mark)
        for role in ("server", "worker")
        if role in ports
    )
    _put(folder / "inner.conf", "".join(inner))
    file = folder / "nginx.conf"
    _put(file, _replaced(code, folder, secrets, doors))
    return file


def lead(folder: Path, ports: Mapping[str, Iterable[int]]) -> None:
    """What lies in the folder leads to these ports from now on and stays as it is otherwise: it may
    be of a version whose files this code does not know."""
    upstreams = (folder / "upstreams.conf").read_text("utf-8")
    for role, each in ports.items():
        led = re.search(_LED.format(role=role), upstreams)
        if led is None:
            raise Unexpected(f"{folder}/upstreams.conf leads to no {role}")
        how = led[2].splitlines()[0].split(maxsplit=2)[2]
        servers = "".join(f"    server 127.0.0.1:{port} {how}\n" for port in each)
        upstreams = upstreams.replace(led[0], led[1] + servers)
    _put(folder / "upstreams.conf", upstreams)
    mark = token_hex(8)
    _put(folder / "generation", mark)
    inner = (folder / "inner.conf").read_text("utf-8")
    _put(folder / "inner.conf", _MARK.sub(f'return 200 "{mark}";', inner))


def written(folder: Path) -> Mapping[str, str]:
    """The files that lie in the folder; none before the first `write`."""
    if not (folder / "nginx.conf").is_file():
        return {}
    return {name: (folder / name).read_text("utf-8") for name in _FILES}


def put_back(folder: Path, files: Mapping[str, str]) -> None:
    """These files again, as `written` gave them."""
    for name, text in files.items():
        _put(folder / name, text)


def generation(folder: Path) -> str:
    """What nginx answers at GENERATION when it goes by what was written last."""
    return (folder / "generation").read_text("utf-8")


def _replaced(code: Path, folder: Path, secrets: Path, doors: Mapping[str, int]) -> str:
    text = (code / NGINX / "nginx.conf").read_text("utf-8")
    public = doors.get("public", doors["tls"])
    for old, new in {
        "/tmp/": f"{folder}/",  # noqa: S108 - Compose's, which is replaced
        "/run/secrets/": f"{secrets}/",
        "include proxy.conf": f"include {code}/{NGINX}/proxy.conf",
        "/dev/stdout": f"{folder}/access.log",
        "listen 8080": f"listen {doors['plain']}",
        "listen 8443": f"listen {doors['tls']}",
        "https://$host$": "https://$host$" if public == HTTPS else f"https://$host:{public}$",
        "127.0.0.1:8081": f"127.0.0.1:{doors['alive']}",
        # There is no Grafana in this form.
        "proxy_pass $grafana;": "return 404;",
        "include upstreams.conf;": "include upstreams.conf;\n    include inner.conf;",
    }.items():
        if old not in text:
            raise Unexpected(f"{NGINX}/nginx.conf has no {old}")
        text = text.replace(old, new)
    return text


def _upstream(shipped: str, role: str, ports: Iterable[int]) -> str:
    """The shipped upstream of servers for any role, with ports of here for the container's name:
    Debian's nginx knows no `resolve`, and here nobody moves unsaid."""
    block = _UPSTREAM.search(shipped)
    container = block and _CONTAINER.search(block[0])
    if not block or not container:
        raise Unexpected(f"{NGINX}/upstreams.conf names its servers in another way than this reads")
    servers = "\n".join(f"    server 127.0.0.1:{port} {container[1]};" for port in ports)
    text = block[0].replace(container[0], servers)
    return text.replace("upstream server", f"upstream {role}").replace(
        "zone server", f"zone {role}"
    )


def _put(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.new")
    draft.write_text(text, "utf-8")
    draft.replace(file)
