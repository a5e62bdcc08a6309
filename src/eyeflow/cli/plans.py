"""What a deployment would do, for people: `deploy --dry-run`."""

from __future__ import annotations

from typing import Any

from eyeflow.base.errors import ExitCode
from eyeflow.cli.console import colored, say

Json = dict[str, Any]
_VERBS = {
    "install": "gets",
    "replace": "gets",
    "configure": "gets other parameters for",
    "remove": "no longer runs",
    "none": "keeps",
}


def is_possible(plan: Json, trusted_soon: frozenset[str] = frozenset()) -> bool:
    """Say whether nothing would be refused. `trusted_soon`: rules whose signer a deployment makes known first."""
    return (
        not plan["broken"]
        and not (set(plan["untrusted"]) - trusted_soon)
        and not any(node["problems"] for node in plan["nodes"])
    )


def say_plan(plan: Json, trusted_soon: frozenset[str] = frozenset()) -> ExitCode:
    """Show a plan and return the exit code: 1 when the deployment would be refused, or fail at once."""
    for node in plan["nodes"]:
        away = "" if node["connected"] else "  offline, gets it as soon as it connects"
        mark = colored("failed") + "  " if node["problems"] else ""
        say(f"{node['node']}  {mark}{'; '.join(map(_change, node['changes']))}{away}")
        for problem in node["problems"]:
            say(f"  cannot run it: {problem}")
        for change in node["changes"]:
            for line in _state(change):
                say(f"  {line}")
    for rule in sorted(set(plan["untrusted"]) - trusted_soon):
        say(f"no trusted key has signed the program of {rule}: it would be refused")
    for broken in plan["broken"]:
        say(f"the policy does not allow it: {broken}")
    if plan["approval"]:
        say(f"would wait: {plan['approval']}")
    for old in plan["supersedes"]:
        say(f"would end deployment {old['id']} of {old['name']}, which is {old['state']}, on {', '.join(old['nodes'])}")
    steps = "1 step" if plan["steps"] == 1 else f"{plan['steps']} steps"
    watched = f", watched for {_duration(plan['leastS'])} in all" if plan["leastS"] else ""
    say(f"{plan['strategy']}: {steps}{watched}. Nothing was changed.")
    return ExitCode.OK if is_possible(plan, trusted_soon) else ExitCode.PROBLEMS


def _change(change: Json) -> str:
    program = change["programId"] or change["programBefore"]
    instead = f" in place of {change['programBefore'][:16]}" if change["change"] == "replace" else ""
    return f"{_VERBS[change['change']]} {change['rule']} {program[:16]}{instead}"


def _state(change: Json) -> list[str]:
    state = change["state"]
    if state is None:
        return []
    lines = [
        (state["kept"], "keeps the state"),
        (state["reset"], "starts anew, for its type is another:"),
        (state["dropped"], "forgets the state"),
    ]
    found = [f"{what} {', '.join(names)}" for names, what in lines if names]
    return [*found, "what its time words remember starts anew"] if state["resetsTimeWords"] else found


def _duration(seconds: int) -> str:
    from eyeflow.base.duration import format_duration

    return format_duration(seconds * 1_000_000)
