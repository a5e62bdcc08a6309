"""Every path of the REST API in one table: the routes, the checks and the OpenAPI document all come from it."""

from __future__ import annotations

from dataclasses import dataclass

from eyeflow.coordinator import (
    alarms_api,
    api,
    changes_api,
    executions_api,
    explaining,
    lines_api,
    lists_api,
    live,
    plan_api,
    policy_api,
    records_api,
    rule_tests,
    sessions_api,
    sources,
    trends_api,
)
from eyeflow.coordinator.api import Handler
from eyeflow.coordinator.queries import Param
from eyeflow.coordinator.tokens import Role
from eyeflow.protocol.wire import PROGRAM_BYTES_MAX

JSON_BYTES_MAX = 256 * 1024
"""Largest JSON body."""
OPEN_BYTES_MAX = 16 * 1024
"""Largest body on a path that asks for no token: strangers must not make the coordinator read more."""
PROGRAM_MEDIA_TYPE = "application/octet-stream"

DEPLOY_SET_BYTES_MAX = 4 * 1024 * 1024
"""Largest body of a deployment: of many rules, to ten thousand nodes by name."""
DEPLOY_PROBLEMS = (
    "rule_not_found",
    "program_not_found",
    "unknown_nodes",
    "unfit_nodes",
    "policy_broken",
    "deployment_open",
    "untrusted_program",
    "unavailable_strategy",
    "invalid_params",
    "limit_reached",
)
KEY_PROBLEMS = ("bad_idempotency_key", "idempotency_key_reused", "request_in_progress")
RETRY_PROBLEMS = (
    "program_not_found",
    "unknown_nodes",
    "unfit_nodes",
    "policy_broken",
    "untrusted_program",
    "limit_reached",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `role` None: no token needed. `body` names a schema, or is the media type of raw bytes.

    `replies` maps statuses to the name of a schema (empty: no body; `text`: plain text); `problems`: its own codes.
    `query`: the parameters that it takes; any other is refused. `has_key`: sent again with the same `Idempotency-Key`,
    it has its effect once.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    replies: dict[int, str]
    body: str = ""
    problems: tuple[str, ...] = ()
    size_bytes_max: int = JSON_BYTES_MAX
    query: tuple[Param, ...] = ()
    has_key: bool = False

    @property
    def body_bytes_max(self) -> int:
        """The largest body that is read."""
        return self.size_bytes_max if self.role is not None else min(self.size_bytes_max, OPEN_BYTES_MAX)

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().splitlines()[0]

    @property
    def codes(self) -> tuple[str, ...]:
        """All problem codes this endpoint may answer with."""
        auth = ("unauthenticated", "forbidden") if self.role is not None else ()
        body = ("malformed_json", "invalid_body") if self.body and self.body != PROGRAM_MEDIA_TYPE else ()
        sized = ("too_slow", "too_large", "unsupported_media_type") if self.body else ()
        stored = ("storage", "conflict") if self.method != "GET" else ("storage",)
        found = ("not_found",) if "{" in self.path and "not_found" not in self.problems else ()
        keyed = KEY_PROBLEMS if self.has_key else ()
        return (*auth, *body, *sized, *keyed, "invalid_query", *self.problems, *found, *stored, "wrong_origin")


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/api/status", api.get_status, Role.READ, {200: "Status"}),
    Endpoint("GET", "/api/nodes", lists_api.list_nodes, Role.READ, {200: "Nodes"}, query=lists_api.NODES_QUERY),
    Endpoint("GET", "/api/trend", trends_api.get_trend, Role.READ, {200: "Trend"}, query=trends_api.TREND_QUERY),
    Endpoint(
        "GET",
        "/api/nodes/{id}/trend",
        trends_api.get_node_trend,
        Role.READ,
        {200: "Trend"},
        problems=("node_not_found",),
        query=trends_api.TREND_QUERY,
    ),
    Endpoint("GET", "/api/node-rows", live.list_node_rows, Role.READ, {200: "NodeRows"}, query=lists_api.NODES_QUERY),
    Endpoint(
        "POST",
        "/api/nodes/join-tokens",
        api.create_join_token,
        Role.ADMIN,
        {201: "JoinToken"},
        "JoinTokenRequest",
        ("limit_reached",),
    ),
    Endpoint(
        "POST",
        "/api/nodes/join",
        api.join,
        None,
        {201: "Joined"},
        "JoinRequest",
        ("bad_join_token", "bad_signature", "node_exists", "limit_reached"),
    ),
    Endpoint(
        "POST",
        "/api/nodes/{id}/boards",
        api.join_board,
        None,
        {201: "JoinedBoard"},
        "BoardRequest",
        ("unauthenticated", "node_exists", "limit_reached", "forbidden"),
    ),
    Endpoint(
        "GET",
        "/api/nodes/{id}/board-file",
        api.get_board_file,
        Role.READ,
        {200: "BoardFile"},
        problems=("node_not_found",),
    ),
    Endpoint(
        "GET",
        "/api/nodes/{id}/lines",
        lines_api.list_lines,
        Role.READ,
        {200: "BoardLines"},
        problems=("node_not_found", "board_unheard", "too_many_listeners"),
        query=lines_api.LINES_QUERY,
    ),
    Endpoint("GET", "/api/nodes/{id}", api.get_node, Role.READ, {200: "Node"}, problems=("node_not_found",)),
    Endpoint(
        "GET",
        "/api/nodes/{id}/records",
        records_api.list_records,
        Role.READ,
        {200: "KeptRecords"},
        problems=("node_not_found",),
        query=records_api.RECORDS_QUERY,
    ),
    Endpoint(
        "GET",
        "/api/nodes/{id}/states",
        records_api.list_states,
        Role.READ,
        {200: "KeptStates"},
        problems=("node_not_found",),
    ),
    Endpoint(
        "GET",
        "/api/nodes/{id}/copies",
        records_api.list_copies,
        Role.READ,
        {200: "KeptChains"},
        problems=("node_not_found",),
    ),
    Endpoint(
        "GET",
        "/api/executions",
        executions_api.list_executions,
        Role.READ,
        {200: "Executions"},
        problems=("node_not_found", "no_archive", "limit_reached"),
        query=executions_api.EXECUTIONS_QUERY,
    ),
    Endpoint(
        "GET",
        "/api/executions/{id}/why",
        explaining.explain_execution,
        Role.READ,
        {200: "Why"},
        problems=("node_not_found", "execution_not_found", "no_archive", "too_many_explanations"),
    ),
    Endpoint("DELETE", "/api/nodes/{id}", api.remove_node, Role.ADMIN, {204: ""}, problems=("node_not_found",)),
    Endpoint(
        "POST", "/api/nodes/{id}/accept", api.accept_node, Role.ADMIN, {200: "Node"}, problems=("node_not_found",)
    ),
    Endpoint(
        "POST",
        "/api/nodes/{id}/quarantine",
        api.quarantine_node,
        Role.ADMIN,
        {200: "Node"},
        "QuarantineRequest",
        ("node_not_found",),
    ),
    Endpoint(
        "PUT",
        "/api/nodes/{id}/labels",
        api.label_node,
        Role.ADMIN,
        {200: "Node"},
        "LabelsRequest",
        ("node_not_found",),
    ),
    Endpoint(
        "POST",
        "/api/nodes/{id}/drain",
        api.drain_node,
        Role.DEPLOY,
        {200: "Node"},
        problems=("node_not_found", "deployment_open", "policy_broken"),
    ),
    Endpoint(
        "POST", "/api/nodes/{id}/undrain", api.undrain_node, Role.DEPLOY, {200: "Node"}, problems=("node_not_found",)
    ),
    Endpoint(
        "DELETE",
        "/api/nodes/{id}/rules/{rule}",
        api.retire_rule,
        Role.DEPLOY,
        {204: ""},
        problems=("node_not_found", "rule_not_found", "deployment_open", "policy_broken"),
    ),
    Endpoint(
        "POST",
        "/api/programs",
        api.add_program,
        Role.DEPLOY,
        {201: "Program", 200: "Program"},
        PROGRAM_MEDIA_TYPE,
        ("invalid_program", "untrusted_program", "limit_reached"),
        PROGRAM_BYTES_MAX,
    ),
    Endpoint(
        "GET", "/api/programs/{id}", api.get_program, Role.READ, {200: "Program"}, problems=("program_not_found",)
    ),
    Endpoint(
        "GET",
        "/api/programs/{id}/source",
        sources.get_source,
        Role.READ,
        {200: "ProgramSource"},
        problems=("program_not_found",),
    ),
    Endpoint(
        "PUT",
        "/api/programs/{id}/source",
        sources.put_source,
        Role.DEPLOY,
        {204: ""},
        "ProgramSource",
        ("program_not_found", "source_differs"),
        sources.SOURCE_BYTES_MAX,
    ),
    Endpoint(
        "GET",
        "/api/programs/{id}/tests",
        rule_tests.get_tests,
        Role.READ,
        {200: "RuleTests"},
        problems=("program_not_found",),
    ),
    Endpoint(
        "PUT",
        "/api/programs/{id}/tests",
        rule_tests.put_tests,
        Role.DEPLOY,
        {204: ""},
        "TestReport",
        ("program_not_found",),
    ),
    Endpoint(
        "GET", "/api/programs", lists_api.list_programs, Role.READ, {200: "Programs"}, query=lists_api.PROGRAMS_QUERY
    ),
    Endpoint("GET", "/api/rules", lists_api.list_rules, Role.READ, {200: "Rules"}, query=lists_api.RULES_QUERY),
    Endpoint(
        "POST",
        "/api/rules/{id}/deploy",
        api.deploy,
        Role.DEPLOY,
        {202: "Deployment"},
        "DeployRequest",
        DEPLOY_PROBLEMS,
        DEPLOY_SET_BYTES_MAX,
        has_key=True,
    ),
    Endpoint(
        "POST",
        "/api/deployments",
        api.deploy_set,
        Role.DEPLOY,
        {202: "Deployment", 200: "Unchanged"},
        "DeploySetRequest",
        DEPLOY_PROBLEMS,
        DEPLOY_SET_BYTES_MAX,
        has_key=True,
    ),
    Endpoint("GET", "/api/policy", policy_api.get_policy, Role.READ, {200: "Policy"}, problems=("invalid_policy",)),
    Endpoint(
        "POST", "/api/policy", policy_api.set_policy, Role.ADMIN, {200: "Policy"}, "PolicyText", ("invalid_policy",)
    ),
    Endpoint(
        "POST",
        "/api/policy/check",
        policy_api.check_policy,
        Role.READ,
        {200: "Policy"},
        "PolicyText",
        ("invalid_policy",),
    ),
    Endpoint(
        "POST",
        "/api/deployments/plan",
        plan_api.plan_deployment,
        Role.READ,
        {200: "Plan"},
        "PlanRequest",
        (*DEPLOY_PROBLEMS, "invalid_program"),
        DEPLOY_SET_BYTES_MAX,
    ),
    Endpoint(
        "GET",
        "/api/deployments",
        lists_api.list_deployments,
        Role.READ,
        {200: "Deployments"},
        query=lists_api.DEPLOYMENTS_QUERY,
    ),
    Endpoint(
        "GET",
        "/api/deployments/{id}",
        api.get_deployment,
        Role.READ,
        {200: "Deployment"},
        problems=("deployment_not_found",),
    ),
    Endpoint(
        "GET",
        "/api/deployments/{id}/nodes",
        lists_api.list_deployment_nodes,
        Role.READ,
        {200: "DeploymentNodes"},
        problems=("deployment_not_found",),
        query=lists_api.PROGRESS_QUERY,
    ),
    *(
        Endpoint(
            "POST",
            f"/api/deployments/{{id}}/{verb}",
            handler,
            Role.DEPLOY,
            {202: "Deployment"},
            problems=("deployment_not_found", *problems),
            has_key=verb == "retry",
        )
        for verb, handler, *problems in (
            ("cancel", api.cancel_deployment, "deployment_over"),
            ("pause", api.pause_deployment, "deployment_over"),
            ("resume", api.resume_deployment, "deployment_over"),
            ("promote", api.promote_deployment, "deployment_over", "nothing_to_promote", "policy_broken"),
            ("approve", api.approve_deployment, "deployment_over", "nothing_to_approve", "own_approval"),
            ("rollback", api.take_back_deployment, "nothing_to_take_back"),
            ("retry", api.retry_deployment, "deployment_open", *RETRY_PROBLEMS),
        )
    ),
    Endpoint("GET", "/api/alarms", alarms_api.list_alarms, Role.READ, {200: "Alarms"}, query=alarms_api.ALARMS_QUERY),
    Endpoint("GET", "/api/alarms/{id}", alarms_api.get_alarm, Role.READ, {200: "Alarm"}, problems=("not_found",)),
    Endpoint(
        "POST",
        "/api/alarms/{id}/acknowledge",
        alarms_api.acknowledge_alarm,
        Role.DEPLOY,
        {200: "Alarm"},
        "Acknowledgement",
        ("not_found",),
    ),
    Endpoint("GET", "/api/keys", lists_api.list_keys, Role.READ, {200: "Keys"}, query=lists_api.KEYS_QUERY),
    Endpoint("POST", "/api/keys", api.trust_key, Role.ADMIN, {201: "Key"}, "KeyRequest", ("limit_reached",)),
    Endpoint("GET", "/api/keys/root", api.get_signer_list, None, {200: "SignerList"}, problems=("not_found",)),
    Endpoint(
        "POST",
        "/api/keys/root",
        api.publish_signer_list,
        Role.ADMIN,
        {200: "SignerList"},
        "SignerList",
        ("bad_signer_list", "old_signer_list", "limit_reached"),
    ),
    Endpoint("DELETE", "/api/keys/{key}", api.revoke_key, Role.ADMIN, {204: ""}, problems=("not_found",)),
    Endpoint(
        "POST",
        "/api/tokens",
        api.create_token,
        Role.ADMIN,
        {201: "Token"},
        "TokenRequest",
        ("token_exists", "limit_reached"),
    ),
    Endpoint("GET", "/api/tokens", lists_api.list_tokens, Role.ADMIN, {200: "Tokens"}, query=lists_api.TOKENS_QUERY),
    Endpoint(
        "DELETE", "/api/tokens/{id}", api.revoke_token, Role.ADMIN, {204: ""}, problems=("not_found", "last_admin")
    ),
    Endpoint(
        "POST", "/api/session", sessions_api.begin_session, None, {201: "Session"}, "SignIn", ("unauthenticated",)
    ),
    Endpoint("GET", "/api/session", sessions_api.get_session, Role.READ, {200: "Session"}),
    Endpoint("DELETE", "/api/session", sessions_api.end_session, Role.READ, {204: ""}, problems=("not_found",)),
    Endpoint("DELETE", "/api/sessions", sessions_api.end_all_sessions, Role.READ, {204: ""}),
    Endpoint("POST", "/api/session/links", sessions_api.create_sign_in_link, Role.READ, {201: "SignInLink"}),
    Endpoint("GET", "/api/log", api.get_log, Role.READ, {200: "Log"}),
    Endpoint(
        "GET",
        "/api/log/entries",
        lists_api.list_log_entries,
        Role.READ,
        {200: "LogEntries"},
        query=lists_api.LOG_QUERY,
    ),
    Endpoint(
        "GET",
        changes_api.PATH,
        changes_api.list_changes,
        Role.READ,
        {200: "Changes"},
        problems=("cursor_too_old",),
        query=changes_api.CHANGES_QUERY,
    ),
    Endpoint("GET", "/api/ca", api.get_ca, None, {200: "Ca"}, problems=("no_authority",)),
    Endpoint(
        "POST",
        "/api/link/certificate",
        api.certify,
        None,
        {200: "Certificate"},
        "CertificateRequest",
        ("unauthenticated", "no_authority", "invalid_request"),
    ),
    Endpoint("GET", "/api/link/challenge", api.challenge, None, {200: "Challenge"}),
    Endpoint("GET", "/healthz", api.get_healthz, None, {200: "Healthz", 503: "Healthz"}),
    Endpoint("GET", "/metrics", api.get_metrics, Role.READ, {200: "text"}),
)
