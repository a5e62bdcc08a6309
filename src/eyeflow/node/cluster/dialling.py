"""Where a node dials, and why that failed, in words for people."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.base.reasons import tls_advice, why

REFUSAL_CHARS_MAX = 300
REMOVED = "A node that was removed from the cluster joins again with `eyeflow node join URL --token TOKEN`"


def link_url(url: str) -> str:
    """Return the address of the link at a coordinator."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, "/api/link", "", ""))


def dial_failure(error: Exception) -> str:
    """Return why no link came up, and what to do."""
    if isinstance(error, InvalidStatus):
        return _refused_link(error.response)
    advice = tls_advice(error)
    return f"{why(error)}; {advice}" if advice else why(error)


def _refused_link(response: Response) -> str:
    """Return why the coordinator opens no link, in the words of its problem details."""
    try:
        problem = parse_json(bytes(response.body or b""))
        detail, code = str(problem["detail"])[:REFUSAL_CHARS_MAX].removesuffix("."), problem.get("code")
    except (Unreadable, KeyError, TypeError, AttributeError):
        detail, code = f"it answered {response.status_code}", ""
    advice = f". {REMOVED}" if code == "unauthenticated" else ""
    return f"the coordinator refused the link: {detail}{advice}"
