"""Who makes a request, whatever it comes over: the token in its header.

The one place that reads a credential of a user. A session of a browser, by a cookie, would be read here as well.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.tokens import Actor, Role, Tokens


def check_origin(connection: HTTPConnection) -> None:
    """Raise Problem for what a page of another site sends. Commands and nodes send no Origin."""
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != connection.headers.get("host"):
        raise Problem("wrong_origin", f"The request comes from a page of {origin[:200]}.")


async def actor_of(tokens: Tokens, headers: Headers, role: Role) -> Actor:
    """Return who asks; raises Problem 401 without a token that works, 403 when its role does not include `role`."""
    actor = await tokens.actor(headers.get("authorization"))
    if not actor.may(role):
        detail = f"The token `{actor.name}` has the role {actor.role.value}; this needs {role.value}."
        raise Problem("forbidden", detail, "ask an admin for a token with that role")
    return actor
