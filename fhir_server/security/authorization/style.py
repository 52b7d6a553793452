"""Our look as a SMART Style document, for apps that want to match it (SMART App Launch 2.2, "SMART
App Styling").

The address names the contents, so new contents are a new address, as SMART demands. The values
are those of the pages' style sheet in light mode; a test keeps the two together.
"""

import hashlib
from collections.abc import Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response

STYLE: Mapping[str, str] = {
    "color_background": "#ffffff",
    "color_error": "#a4161a",
    "color_highlight": "#0b5c6b",
    "color_modal_backdrop": "rgba(20, 33, 43, 0.6)",
    "color_success": "#1b6e3c",
    "color_text": "#14212b",
    "dim_border_radius": "4px",
    "dim_font_size": "16px",
    "dim_spacing_size": "16px",
    "font_family_body": "system-ui, sans-serif",
    "font_family_heading": "system-ui, sans-serif",
}
_BODY = orjson.dumps(dict(STYLE))
_NAME = f"smart-style-{hashlib.sha256(_BODY).hexdigest()[:12]}.json"
STYLE_PATH = f"/{_NAME}"


def style_url(issuer: str) -> str:
    """The absolute address of the document."""
    return f"{issuer}{STYLE_PATH}"


async def style(_request: Request) -> Response:
    """GET: the document, to any origin; it may be kept for good, as its address names it."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_BODY, media_type="application/json", headers=headers)
