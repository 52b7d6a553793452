"""The containers' health check: `python -m deploy.is_ready [URL]` ends with 0 when the process
answers that it is ready, else with 1 and the reason."""

import sys

import httpx

URL = "http://127.0.0.1:5000/health/ready"
_SECONDS = 4.0


def problem(url: str) -> str | None:
    """Why the process is not ready; None when it is."""
    try:
        # What answers here is this process, whose certificate names its public host.
        is_own = url.startswith("https://127.0.0.1:")
        answer = httpx.get(url, timeout=_SECONDS, trust_env=False, verify=not is_own)
    except httpx.HTTPError as failure:
        return type(failure).__name__
    return None if answer.is_success else f"HTTP {answer.status_code}"


def main(arguments: list[str]) -> int:
    """Look once; the exit status says how it is."""
    found = problem(arguments[0] if arguments else URL)
    if found is not None:
        print(f"not ready: {found}", file=sys.stderr)
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
