"""Jinja2 environment of the app: autoescaped, strict about unknown names, translated."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smart_app import language
from smart_app.disclaimers import disclaimer

HERE = Path(__file__).parent
STATIC = HERE / "static"
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def static_files() -> Mapping[str, tuple[bytes, str, str]]:
    """Every file under static/: path → (content, media type, published path). The published path
    has a part made from the content, so that caches may keep the file for good."""
    return {
        path.relative_to(STATIC).as_posix(): (
            path.read_bytes(),
            STATIC_TYPES[path.suffix],
            published(path.relative_to(STATIC).as_posix(), path.read_bytes()),
        )
        for path in sorted(STATIC.rglob("*"))
        if path.suffix in STATIC_TYPES
    }


def published(path: str, content: bytes) -> str:
    """The path under which a file with this content is asked for: `css/a.css` →
    `css/a.0123456789ab.css`."""
    plain = PurePosixPath(path)
    mark = hashlib.sha256(content).hexdigest()[:12]
    return plain.with_name(f"{plain.stem}.{mark}{plain.suffix}").as_posix()


@cache
def published_files() -> Mapping[str, tuple[bytes, str]]:
    """Published path → (content, media type)."""
    return {path: (content, kind) for content, kind, path in static_files().values()}


def environment(root: str) -> Environment:
    """Templates for an app that is reached under the path `root` (as `/app`)."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        # The files of a process stay what they are: none is looked at again for each page.
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install = templates.install_gettext_callables  # type: ignore[attr-defined]
    install(language.gettext, language.ngettext, newstyle=True)
    templates.globals.update(
        root=root,
        static=lambda path: f"{root}/static/{static_files()[path][2]}",
        language=language.language,
        direction=language.direction,
        disclaimer=disclaimer,
    )
    return templates
