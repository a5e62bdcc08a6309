"""Refusals of the REST API as problem details (RFC 9457), with a stable code and status for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CODES: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not valid JSON"),
    "bad_idempotency_key": (400, "The key of the request cannot be used"),
    "unauthenticated": (401, "A valid token is needed"),
    "bad_certificate": (401, "The link needs the node's certificate"),
    "bad_join_token": (401, "The join token is unknown, used or expired"),
    "bad_signature": (401, "The signature does not prove the key"),
    "forbidden": (403, "The token's role does not allow this"),
    "wrong_origin": (403, "Requests from other sites are refused"),
    "not_found": (404, "There is no such thing"),
    "no_archive": (404, "The coordinator keeps no copies of the nodes' audit"),
    "no_authority": (404, "The coordinator has no CA of its own"),
    "node_not_found": (404, "There is no such node"),
    "rule_not_found": (404, "There is no such rule"),
    "program_not_found": (404, "There is no such program"),
    "execution_not_found": (404, "There is no such execution"),
    "deployment_not_found": (404, "There is no such deployment"),
    "method_not_allowed": (405, "The path does not have this method"),
    "too_slow": (408, "The body did not come in time"),
    "node_exists": (409, "Another node has this name"),
    "token_exists": (409, "Another token has this name"),
    "last_admin": (409, "Nobody could administer the coordinator any more"),
    "deployment_over": (409, "The deployment has ended"),
    "nothing_to_promote": (409, "The deployment has no step to take now"),
    "nothing_to_approve": (409, "The deployment waits for nobody"),
    "own_approval": (409, "Nobody approves what they asked for themselves"),
    "nothing_to_take_back": (409, "The deployment did not succeed"),
    "request_in_progress": (409, "The same request is at work"),
    "board_unheard": (409, "Nobody can tell what the board logs"),
    "conflict": (409, "Somebody else changed the same thing at the same time"),
    "deployment_open": (409, "A deployment is under way"),
    "old_signer_list": (409, "A newer list of signers is known"),
    "cursor_too_old": (410, "The feed does not go back so far"),
    "too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body is of another media type than this path takes"),
    "invalid_body": (422, "The body does not fit its schema"),
    "idempotency_key_reused": (422, "Another request had the same key"),
    "invalid_query": (422, "The query does not fit the path"),
    "invalid_request": (422, "The certificate request cannot be used"),
    "invalid_program": (422, "The program is malformed or fails verification"),
    "source_differs": (422, "The text is not that of the program"),
    "bad_signer_list": (422, "The list of signers is malformed or not signed by its root"),
    "untrusted_program": (422, "No trusted key signed the program"),
    "unknown_nodes": (422, "Some nodes are not in the cluster"),
    "policy_broken": (422, "The policy does not allow this"),
    "invalid_policy": (422, "The text is no policy"),
    "unfit_nodes": (422, "Some nodes cannot run this"),
    "unavailable_strategy": (422, "The strategy is not available"),
    "invalid_params": (422, "The parameters do not fit the program"),
    "limit_reached": (422, "A bound of the coordinator is reached"),
    "too_many_watchers": (429, "Too many watch the changes"),
    "too_many_listeners": (429, "Too many ask for the lines of boards"),
    "too_many_explanations": (429, "Too many executions are being explained"),
    "internal": (500, "The coordinator failed"),
    "storage": (503, "The coordinator cannot store this now"),
}
"""Each code with its status and title; the list is part of the API."""

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong at one place of a body; `pointer` is a JSON pointer (RFC 6901), empty for the whole."""

    pointer: str
    message: str


class Problem(Exception):  # noqa: N818
    """A refusal: `detail` says what and why for this request, `next_step` what to do, `retry_after_s` when again."""

    def __init__(
        self,
        code: str,
        detail: str,
        next_step: str = "",
        errors: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = CODES[code]
        self.detail = detail
        self.next_step = next_step
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, object]:
        """Return the problem+json object."""
        made: dict[str, object] = {
            "type": f"urn:eyeflow:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.next_step:
            made["nextStep"] = self.next_step
        if self.errors:
            made["errors"] = [{"pointer": error.pointer, "message": error.message} for error in self.errors]
        return made
