"""`/api/session`: signing in and out of the dashboard, and who one is."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.credentials import cookie_name
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.sessions import SESSION_S
from eyeflow.coordinator.tokens import Actor


async def begin_session(hub: Hub, call: Call) -> Reply:
    """Sign in with an API token or the code of a one-time link; the answer sets the cookie of the session."""
    if len(call.body) != 1:
        errors = [FieldError("", "has either `token` or `code`")]
        raise Problem("invalid_body", "Give either a token or a code.", errors=errors)
    sessions = hub.sessions
    begin = sessions.begin(call.body["token"]) if "token" in call.body else sessions.begin_by_link(call.body["code"])
    begun = await begin
    return Reply(201, _view(begun.actor), {"Set-Cookie": _cookie(call, begun.secret, SESSION_S)})


async def get_session(hub: Hub, call: Call) -> Reply:
    """Say who one is, by a session or by a token."""
    return Reply(200, _view(call.actor))


async def end_session(hub: Hub, call: Call) -> Reply:
    """Sign out: the session opens nothing any more."""
    if not call.actor.session:
        raise Problem("not_found", "The request came with a token and has no session.", "send the session's cookie")
    await hub.sessions.end(call.actor)
    return _signed_out(call)


async def end_all_sessions(hub: Hub, call: Call) -> Reply:
    """Sign out everywhere: no session and no sign-in link of this token opens anything any more."""
    await hub.sessions.end_all(call.actor)
    return _signed_out(call)


async def create_sign_in_link(hub: Hub, call: Call) -> Reply:
    """Make a link that signs a browser in once, with the rights of this token."""
    code, expires_us = await hub.sessions.make_link(call.actor)
    return Reply(201, {"code": code, "path": f"/sign-in#{code}", "expiresUs": expires_us})


def _signed_out(call: Call) -> Reply:
    return Reply(204, headers={"Set-Cookie": _cookie(call, "", 0)})


def _cookie(call: Call, value: str, age_s: int) -> str:
    secure = "; Secure" if call.is_tls else ""
    return f"{cookie_name(call.is_tls)}={value}; Max-Age={age_s}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _view(actor: Actor) -> dict[str, Any]:
    return {
        "name": actor.name,
        "role": actor.role.value,
        "labels": dict(actor.labels),
        "expiresUs": actor.expires_us,
        "bySession": bool(actor.session),
    }
