"""Deployments and targets as the JSON text that the store keeps. Strict shapes: they were written by `plan`."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from eyeflow.rollout.plan import Deployment, DeploymentState, NodeProgress, NodeState, Rollback, Target


def dump_target(target: Target) -> str:
    """Return a target as JSON text."""
    return json.dumps(asdict(target), separators=(",", ":"))


def load_target(text: str) -> Target:
    """Return the target that `dump_target` wrote."""
    return _target(json.loads(text))


def dump_deployment(deployment: Deployment) -> str:
    """Return a deployment as JSON text."""
    return json.dumps(asdict(deployment), separators=(",", ":"), default=lambda member: member.value)


def load_deployment(text: str) -> Deployment:
    """Return the deployment that `dump_deployment` wrote."""
    plain = json.loads(text)
    plain["target"] = _target(plain["target"])
    plain["rollback"] = Rollback(plain["rollback"])
    plain["state"] = DeploymentState(plain["state"])
    plain["outcome"] = DeploymentState(plain["outcome"])
    plain["nodes"] = tuple(_progress(node) for node in plain["nodes"])
    return Deployment(**plain)


def _progress(plain: dict[str, Any]) -> NodeProgress:
    previous = plain["previous"]
    known = {field.name for field in fields(NodeProgress)}
    assert set(plain) == known
    return NodeProgress(
        **{
            **plain,
            "state": NodeState(plain["state"]),
            "previous": None if previous is None else _target(previous),
        }
    )


def _target(plain: dict[str, Any]) -> Target:
    params = tuple((name, value) for name, value in plain["params"])
    return Target(plain["program_id"], plain["deployment_id"], params)
