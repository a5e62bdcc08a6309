"""Who makes a request, whatever it comes over: the token in its header, or the session in its cookie.

The one place that reads a credential of a user. A browser sends the cookie by itself, whatever page asks for it. So a
request with a cookie must also show that a page of this coordinator made it: docs/decisions/0024.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.sessions import Sessions
from eyeflow.coordinator.tokens import Actor, Role, Tokens

REQUEST_HEADER, REQUEST_VALUE = "X-Eyeflow-Request", "dashboard"
"""A page of another origin cannot send it: the browser would ask the coordinator before, which allows nothing."""
READS = frozenset({"GET", "HEAD"})


def cookie_name(is_tls: bool) -> str:
    """Return the name of the cookie. Browsers take `__Host-` from the host itself over TLS only, for all its paths."""
    return "__Host-eyeflow" if is_tls else "eyeflow"


def is_tls(connection: HTTPConnection) -> bool:
    """Say whether a request came over TLS."""
    return connection.scope.get("scheme") in {"https", "wss"}


def check_origin(connection: HTTPConnection) -> None:
    """Raise Problem for what a page of another site sends. Commands and nodes send no Origin."""
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != connection.headers.get("host"):
        raise Problem("wrong_origin", f"The request comes from a page of {origin[:200]}.")


async def actor_of(tokens: Tokens, sessions: Sessions, connection: HTTPConnection, role: Role) -> Actor:
    """Return who asks; raises Problem 401 without a credential that works, 403 when its role does not include `role`.

    A token in the header goes before a cookie.
    """
    authorization = connection.headers.get("authorization")
    cookie = connection.cookies.get(cookie_name(is_tls(connection)))
    if not authorization and cookie:
        check_own_page(connection)
        actor = await sessions.actor(cookie)
    else:
        actor = await tokens.actor(authorization)
    if not actor.may(role):
        detail = f"The token `{actor.name}` has the role {actor.role.value}; this needs {role.value}."
        raise Problem("forbidden", detail, "ask an admin for a token with that role")
    return actor


def check_own_page(connection: HTTPConnection) -> None:
    """Raise Problem unless a page of this coordinator made a request that has a cookie. `check_origin` comes before."""
    headers, scope = connection.headers, connection.scope
    is_socket, is_read = scope["type"] == "websocket", scope.get("method") in READS
    if is_socket and "origin" not in headers:
        raise Problem("wrong_origin", "A WebSocket with a session needs the header Origin.", "use a browser or a token")
    # Another port of the same host is the same site: SameSite=Strict sends the cookie along.
    own = {"same-origin", "none"} if is_read and not is_socket else {"same-origin"}
    if headers.get("sec-fetch-site", "same-origin") not in own:
        raise Problem("wrong_origin", "The request comes from a page of another origin.")
    if not is_socket and not is_read and headers.get(REQUEST_HEADER.lower()) != REQUEST_VALUE:
        detail = f"With a session, a request that changes something needs the header {REQUEST_HEADER}."
        raise Problem("wrong_origin", detail, f"send `{REQUEST_HEADER}: {REQUEST_VALUE}`, or an API token")
