"""Jinja2 environment of the app: autoescaped, strict about unknown names, translated."""

import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smart_app import language
from smart_app.disclaimers import disclaimer

HERE = Path(__file__).parent
STATIC = HERE / "static"
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def static_files() -> dict[str, tuple[bytes, str, str]]:
    """Every file under static/: path → (content, media type, version by content)."""
    return {
        path.relative_to(STATIC).as_posix(): (
            path.read_bytes(),
            STATIC_TYPES[path.suffix],
            hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        )
        for path in sorted(STATIC.rglob("*"))
        if path.suffix in STATIC_TYPES
    }


def environment(root: str) -> Environment:
    """Templates for an app that is reached under the path `root` (as `/app`)."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install = templates.install_gettext_callables  # type: ignore[attr-defined]
    install(language.gettext, language.ngettext, newstyle=True)
    templates.globals.update(
        root=root,
        static=lambda path: f"{root}/static/{path}?v={static_files()[path][2]}",
        language=language.language,
        direction=language.direction,
        disclaimer=disclaimer,
    )
    return templates
