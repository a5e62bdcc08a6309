"""How many signers a root asks for, as the coordinator tells it: before a deployment, not at the node's refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eyeflow.protocol.identity import Identity
from eyeflow.protocol.signer_list import Threshold, make_list
from eyeflow.svm.container import SIGNATURES_MAX, decode
from eyeflow.svm.signing import check_signatures, sign_program

ROOT = Identity(bytes(range(40, 72)))
NODES = {"all": True}


def publish(api: Any, version: int, signers: list[bytes], *thresholds: Threshold) -> Any:
    made = make_list(version, 1, 0, signers, ROOT.public_key, ROOT.sign, thresholds)
    return api.ask("POST", "/api/keys/root", json=json.loads(made.text()))


def deploy(api: Any) -> Any:
    return api.ask("POST", "/api/rules/overheat/deploy", json=NODES)


def test_a_list_with_thresholds_is_handed_on_as_it_was_signed(full: Any, make: Any) -> None:
    threshold = Threshold(2, "node-*", "pump*", (("line", "2"), ("site", "lyon")))
    reply = publish(full, 1, [make.signer.public_key], threshold)
    assert reply.status_code == 200, reply.text
    assert full.client.get("/api/keys/root").json() == reply.json()
    changed = reply.json() | {"version": 2, "thresholds": []}
    assert full.ask("POST", "/api/keys/root", json=changed).json()["code"] in {"bad_signer_list", "invalid_body"}
    (entry,) = full.look(lambda reading: reading.log_entries(1))
    assert (entry.action, entry.detail.endswith("; 1 thresholds")) == ("publish_signers", True)


@pytest.mark.parametrize(
    ("threshold", "short"),
    [
        (Threshold(2), ["node-a", "node-b"]),
        (Threshold(2, nodes="*-b"), ["node-b"]),
        (Threshold(2, labels=(("site", "lyon"),)), ["node-a"]),
        (Threshold(2, rules="fan"), []),
    ],
)
def test_a_deployment_is_refused_where_a_node_would_refuse_it(
    full: Any, make: Any, threshold: Threshold, short: list[str]
) -> None:
    full.ask("PUT", "/api/nodes/node-a/labels", json={"labels": {"site": "lyon"}})
    publish(full, 1, [make.signer.public_key, make.stranger.public_key], threshold)
    plan = full.ask("POST", "/api/deployments/plan", json=NODES | {"changes": [{"rule": "overheat"}]}).json()
    assert [one["node"] for one in plan["nodes"] if one["problems"]] == short
    reply = deploy(full)
    if not short:
        assert reply.status_code == 202
        return
    assert reply.json()["code"] == "unfit_nodes"
    said = [one["message"] for one in reply.json()["errors"]]
    assert [one.split()[0] for one in said] == short
    assert "only with 2 trusted signers, and it has 1: let another one sign it" in said[0]
    assert full.upload(sign_program(make.program(), make.stranger.private_bytes())).status_code == 200
    assert deploy(full).status_code == 202, "the control: two signed it"


def test_each_of_two_signs_a_copy_and_both_count(full: Any, make: Any) -> None:
    """Neither has the other's file: the same rule compiles to the same program."""
    full.trust(make.stranger, "second")
    only_second = sign_program(make.program(key=None), make.stranger.private_bytes())
    reply = full.upload(only_second)
    assert reply.status_code == 200
    both = {make.signer.public_key, make.stranger.public_key}
    assert set(reply.json()["signers"]) == {key.hex() for key in both}
    kept = decode(full.look(lambda reading: reading.program_bytes(full.program_id)))
    assert set(check_signatures(kept, both)) == both and kept.program_id == full.program_id


def test_a_revoked_signature_makes_room_and_a_new_one_always_finds_it(full: Any, make: Any) -> None:
    others = [Identity(bytes([number]) * 32) for number in range(50, 50 + SIGNATURES_MAX)]
    for number, one in enumerate(others):
        full.trust(one, f"other-{number}")
        full.upload(sign_program(make.program(key=None), one.private_bytes()))
    kept = decode(full.look(lambda reading: reading.program_bytes(full.program_id)))
    assert len(kept.signatures) == SIGNATURES_MAX and others[-1].public_key in dict(kept.signatures)
    full.revoke(others[-1])
    full.trust(make.stranger, "new")
    full.upload(sign_program(make.program(key=None), make.stranger.private_bytes()))
    kept = decode(full.look(lambda reading: reading.program_bytes(full.program_id)))
    assert others[-1].public_key not in dict(kept.signatures) and make.stranger.public_key in dict(kept.signatures)
