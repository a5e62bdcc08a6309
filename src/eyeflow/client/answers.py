"""What the coordinator answers, as the client reads it. This is the one place that does.

An answer of a coordinator of another version may lack a member, or a path may not be there. Whoever reads such a member
gets an EyeflowError that says so: see `Answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from eyeflow import __version__
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_json

Json = dict[str, Any]


class Answer(dict[str, Any]):
    """A JSON object of an answer. A member that it lacks is no KeyError but an EyeflowError with what to do."""

    url: str = ""

    def __missing__(self, name: str) -> Any:
        raise other_version(self.url, f"its answer has no `{name}`")

    def __or__(self, other: Mapping[str, Any]) -> Answer:  # type: ignore[override]
        made = Answer({**self, **other})
        made.url = self.url
        return made


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its whole body."""

    answer: httpx.Response
    body: bytes


def object_of(reply: Reply) -> Json:
    """Return the JSON object in an answer; raises EyeflowError when there is none."""
    try:
        value = parse_json(reply.body)
    except Unreadable as error:
        raise foreign(reply) from error
    if not isinstance(value, dict):
        raise foreign(reply)
    return answer_of(value, str(reply.answer.url))


def answer_of(value: Json, url: str) -> Answer:
    """Return a JSON object of an answer from `url` as an Answer, with all that are in it."""

    def read(one: Any) -> Any:
        if isinstance(one, dict):
            made = Answer({name: read(member) for name, member in one.items()})
            made.url = url
            return made
        return [read(member) for member in one] if isinstance(one, list) else one

    made: Answer = read(value)
    return made


def other_version(url: str, what: str) -> EyeflowError:
    """Return the error for a coordinator that does not speak as this client does."""
    return EyeflowError(
        "the coordinator is of another version of eyeflow than this command",
        cause=f"{url.partition('?')[0]}: {what}",
        next_step=f"this is eyeflow {__version__}; use the eyeflow of the coordinator, or bring the coordinator up: "
        "install the same version there and start it again",
        code="other_version",
    )


def foreign(reply: Reply) -> EyeflowError:
    """Return the error for an answer that no coordinator gives."""
    answer = reply.answer
    return EyeflowError(
        f"{answer.url} does not answer like an eyeflow coordinator",
        cause=f"status {answer.status_code} with {answer.headers.get('content-type', 'no content type')}",
        next_step="check the URL in client.toml or EYEFLOW_COORDINATOR",
        code="not_a_coordinator",
    )


NEXT_STEPS = {
    "unauthenticated": "an admin makes a token with `eyeflow tokens new`; keep it with `eyeflow coordinator login`, or "
    "set EYEFLOW_TOKEN. `eyeflow coordinator start` tells where the first one lies",
    "node_not_found": "see them: eyeflow nodes list",
    "rule_not_found": "eyeflow status shows which rules run where",
    "program_not_found": "eyeflow deploy RULE.eye uploads and deploys a rule",
    "deployment_not_found": "see the newest ones: eyeflow deployments list",
    "untrusted_program": "sign it with a trusted key, or let an admin trust the signer: "
    "eyeflow keys trust KEY --name NAME --cluster",
}
"""What a user of commands does about a refusal, by its code, where the coordinator's advice is for users of REST."""

NAMED_IN_MESSAGE = frozenset({"unknown_nodes", "invalid_body", "invalid_query"})
"""Refusals whose message names each wrong place already: only a hint is told beside it."""
NO_PATH = "see /api/openapi.json."
"""How the detail of a refusal ends that says that there is no such path, or not with this method."""


def _place(error: Mapping[str, Any], code: str) -> str:
    """Return what is wrong at one place of a request: `/params/limit` is the parameter `limit`."""
    name, message = str(error.get("pointer", "")).rpartition("/")[2], str(error.get("message"))
    if code in NAMED_IN_MESSAGE:
        return message.partition("; ")[2]
    return f"{name}: {message}" if name else message


def refusal(reply: Reply) -> EyeflowError:
    """Turn problem+json into an error: what, then each wrong place, then what to do."""
    problem = object_of(reply)
    if not isinstance(problem.get("code"), str):
        raise foreign(reply)
    code, is_ours = problem["code"], reply.answer.status_code >= 500
    message = str(problem.get("detail") or problem.get("title")).removesuffix(".")
    if code in {"not_found", "method_not_allowed"} and f"{message}.".endswith(NO_PATH):
        request = reply.answer.request
        return other_version(str(request.url), f"it has no {request.method} {request.url.path}")
    places = [text for one in problem.get("errors", []) if (text := _place(one, code))]
    return EyeflowError(
        message,
        cause="; ".join(places) or (str(problem.get("title", "")) if is_ours else ""),
        next_step=NEXT_STEPS.get(code) or str(problem.get("nextStep", "")),
        code=code,
        exit_code=ExitCode.ENVIRONMENT if is_ours else ExitCode.PROBLEMS,
    )
