"""Which nodes a command is about: by name, by label, or all, without some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.cli.files import usage_error

Json = dict[str, Any]

Nodes = Annotated[str, typer.Option("--nodes", metavar="A,B", help="The nodes, by name.")]
Label = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Nodes with this label; again: and this one.")
]
All = Annotated[bool, typer.Option("--all", help="All nodes of the cluster that are not drained.")]
Exclude = Annotated[str, typer.Option("--exclude", metavar="A,B", help="Leave these nodes out.")]


def where(nodes: str, label: list[str] | None, is_all: bool, exclude: str, what: str) -> Json:
    """Return which nodes are meant, as the API takes it. Raises EyeflowError unless that is said in one way."""
    named, labels = names(nodes), labels_of(label or [])
    if sum((bool(named), bool(labels), is_all)) != 1:
        raise usage_error(what, "give one of --nodes a,b, --label site=lyon and --all")
    found: Json = {"nodeIds": named} if named else {"labels": labels} if labels else {"all": True}
    return found | ({"exclude": left_out} if (left_out := names(exclude)) else {})


def names(text: str) -> list[str]:
    """Return the names in a list with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the labels in texts such as `site=lyon`. Raises EyeflowError for what is none."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise usage_error(f"`{text}` is no label", "write it like site=lyon")
        found[name] = value
    return found


def has_labels(node: Json, labels: dict[str, str]) -> bool:
    """Say whether a node has all of these labels."""
    return bool(labels.items() <= node["labels"].items())


def meant(nodes: list[Json], asked: Json) -> list[Json]:
    """Return the nodes that the coordinator would choose for `asked`. Raises EyeflowError for unknown ones."""
    left_out, labels, known = asked.get("exclude", ()), asked.get("labels", {}), {node["name"] for node in nodes}
    for name in [*asked.get("nodeIds", ()), *left_out]:
        if name not in known:
            guess = near(name, known)
            raise EyeflowError(
                f"not in the cluster: {name}",
                next_step=f"did you mean {guess}?" if guess else "see them: eyeflow nodes list",
                code="unknown_nodes",
                exit_code=ExitCode.PROBLEMS,
            )
    if "nodeIds" in asked:
        return [node for node in nodes if node["name"] in asked["nodeIds"] and node["name"] not in left_out]
    found = [n for n in nodes if n["name"] not in left_out and not n["drainedUs"] and has_labels(n, labels)]
    if not found:
        raise EyeflowError(
            "no node is meant",
            cause="none has the labels, or all are left out",
            next_step="see them: eyeflow nodes list",
            code="unknown_nodes",
            exit_code=ExitCode.PROBLEMS,
        )
    return found


def running(nodes: list[Json], rule: str, asked: Json) -> list[str]:
    """Return the nodes that `asked` means; of those that it does not name, the ones that shall run `rule`."""
    left_out, labels = asked.get("exclude", ()), asked.get("labels", {})
    if "nodeIds" in asked:
        return [name for name in asked["nodeIds"] if name not in left_out]
    meant = [node for node in nodes if node["name"] not in left_out and has_labels(node, labels)]
    found = [node["name"] for node in meant if any(one["rule"] == rule and one["wanted"] for one in node["rules"])]
    if not found:
        known = {one["rule"] for node in meant for one in node["rules"] if one["wanted"]}
        guess = near(rule, known)
        raise EyeflowError(
            f"no node that is meant is to run {rule}" if meant else "no node is meant",
            cause=f"did you mean {guess}?" if guess else "",
            next_step="eyeflow status shows what runs where",
            code="rule_not_found",
            exit_code=ExitCode.PROBLEMS,
        )
    return found
