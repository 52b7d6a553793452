"""Response headers of every page: content security policy, referrer and caching."""

from collections.abc import Mapping, Sequence


def page_headers(frame_ancestors: Sequence[str], form_targets: Sequence[str]) -> Mapping[str, str]:
    """Headers of an HTML page that may hold patient data.

    `frame_ancestors` are the origins that may frame it (none: nobody may); `form_targets` the
    origins of authorization servers that a form may lead to.
    """
    policy = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        " ".join(["form-action 'self'", *form_targets]),
        "base-uri 'none'",
        "frame-ancestors " + (" ".join(frame_ancestors) or "'none'"),
        "require-trusted-types-for 'script'",
    ]
    return {
        "content-security-policy": "; ".join(policy),
        "cache-control": "no-store",
        **PRIVATE,
    }


PRIVATE: Mapping[str, str] = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
}

IMAGE_HEADERS: Mapping[str, str] = {
    # A stored upload is shown as an image or not at all: never run, never sniffed.
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    **PRIVATE,
}

STATIC_HEADERS: Mapping[str, str] = {
    "cache-control": "public, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
}
