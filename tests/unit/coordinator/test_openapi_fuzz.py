"""Schemathesis against a real coordinator: requests made from the OpenAPI document, answers held against it.

All checks are on. No request is answered by a server error, none by what the document does not have; what does not fit
the document is refused; no path is open without the token that it says it needs. `make fuzz-api` is the long share.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from components.postgres import Server, running_server
from eyeflow.coordinator import openapi
from eyeflow.coordinator.endpoints import ENDPOINTS
from eyeflow.coordinator.schema import check_shape
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import join_bytes

PROCESS = Path(__file__).with_name("coordinator_process.py")
EXAMPLES = int(os.environ.get("EYEFLOW_FUZZ_EXAMPLES") or 2)
ACCEPTED = ["2xx", 400, 401, 403, 404, 409, 410, 422]
"""What an answer to a request may be that fits its schema: some of what is refused no schema can say.

A cursor must be one that the list gave, a program must verify, a text must be a policy, a whole number is not written
as 1.0, and a rule is not removed and deployed at once. Such refusals have their own codes in the document.
"""
REFUSED = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]
CONFIG = schemathesis.Config.from_dict(
    {
        "seed": 20261130,
        "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
            "negative_data_rejection": {"expected-statuses": REFUSED},
        },
    }
)
LONGEST = 100
"""Items of the longest array that is made. Ten thousand different names take longer to draw than all else together."""


def without_long_bounds(shape: Any) -> Any:
    """The document without bounds of arrays that are too long to fill: tests of their own hold those."""
    if isinstance(shape, list):
        return [without_long_bounds(part) for part in shape]
    if not isinstance(shape, dict):
        return shape
    long = isinstance(shape.get("maxItems"), int) and shape["maxItems"] > LONGEST
    return {name: without_long_bounds(part) for name, part in shape.items() if not (long and name == "maxItems")}


schema = schemathesis.openapi.from_dict(without_long_bounds(openapi.document()), config=CONFIG)
LISTS = [one for endpoint in ENDPOINTS for one in endpoint.query if one.is_list]


@schema.hook("filter_query")
def differs_on_the_wire(_: Any, query: Any) -> bool:
    """Say whether what is sent breaks the document where the query does.

    `?node=true` is what `["true"]` would be: one good value for a parameter that takes a list violates nothing. An
    empty list is not sent at all.
    """
    given = query or {}
    if any(value in ([], {}, None) for value in given.values()):
        return False
    alone = {name: value for name, value in given.items() if isinstance(value, str)}
    return all(check_shape(one.shape, alone[one.name]) for one in LISTS if one.name in alone)


SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Running:
    """A coordinator with something to ask for. `known` are ids that are there, by the path that has them."""

    url: str
    headers: dict[str, str]
    known: dict[str, dict[str, str]] = field(default_factory=dict)


def fill(running: Running, make: Any) -> None:
    with httpx.Client(base_url=running.url, headers=running.headers, trust_env=False) as client:

        def ask(method: str, path: str, **request: Any) -> Any:
            reply = client.request(method, path, **request)
            assert reply.is_success, reply.text
            return reply.json()

        ask("POST", "/api/keys", json={"publicKey": make.signer.public_key.hex(), "name": "test"})
        coordinator_id = ask("GET", "/api/status")["coordinatorId"]
        for number, name in enumerate(("node-a", "node-b"), start=1):
            identity = Identity(bytes([number]) * 32)
            signature = identity.sign(join_bytes(coordinator_id, name, identity.public_key))
            body = {"node": name, "publicKey": identity.public_key.hex(), "signature": signature.hex()}
            ask(
                "POST",
                "/api/nodes/join",
                json=body | {"token": ask("POST", "/api/nodes/join-tokens", json={})["token"]},
            )
        octets = {"Content-Type": "application/octet-stream"}
        program = ask("POST", "/api/programs", content=make.program(), headers=octets)["id"]
        deployment = ask("POST", "/api/rules/overheat/deploy", json={"all": True})["id"]
        token = ask("POST", "/api/tokens", json={"name": "spare", "role": "read"})["id"]
    running.known = {
        "/api/nodes/{id}": {"id": "node-a", "rule": "overheat"},
        "/api/programs/{id}": {"id": program},
        "/api/rules/{id}": {"id": "overheat"},
        "/api/deployments/{id}": {"id": deployment},
        "/api/tokens/{id}": {"id": token},
        "/api/keys/{key}": {"key": "ab" * 32},
    }


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def running(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("coordinator")
    data = directory / "data"
    data.mkdir(mode=0o700)
    command = [sys.executable, str(PROCESS), str(data), "eager"]
    if request.param == "postgres":
        command.append(f"--store={request.getfixturevalue('server').url()}")
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url, (directory / "log").read_text()
        token = (data / "admin-token").read_text().strip()
        yield Running(url, {"Authorization": f"Bearer {token}"})
        process.terminate()
        assert process.wait(60) == 0
    told = (directory / "log").read_text()
    assert "Traceback" not in told and "ERROR" not in told, told[-4000:]


@schema.parametrize()
@SETTINGS
def test_every_answer_is_one_that_the_document_has(case: Any, running: Running, make: Any) -> None:
    if not running.known:
        fill(running, make)
    case.call_and_validate(base_url=running.url, headers=running.headers)
    known = next((ids for path, ids in running.known.items() if case.operation.path.startswith(path)), None)
    if known is not None and case.operation.method.upper() != "DELETE":
        case.path_parameters = {name: known[name] for name in case.path_parameters if name in known}
        case.call_and_validate(base_url=running.url, headers=running.headers)


def test_control_an_answer_that_the_document_does_not_have_is_noticed(running: Running) -> None:
    document = copy.deepcopy(openapi.document())
    document["components"]["schemas"]["Status"]["properties"]["nodes"] = {"type": "string"}
    operation = schemathesis.openapi.from_dict(document, config=CONFIG)["/api/status"]["GET"]
    with pytest.raises(BaseExceptionGroup, match='not of type "string"'):
        operation.Case().call_and_validate(base_url=running.url, headers=running.headers)


def test_one_good_value_for_a_list_is_no_fault_and_a_bad_one_is() -> None:
    for query, differs in (
        ({"node": "true"}, False),
        ({"node": "-"}, True),
        ({"node": ["true"]}, True),
        ({"name": "a"}, True),
        ({"state": "failing", "node": "-"}, False),
        ({"sinceUs": 0, "x": []}, False),
        ({"sinceUs": 0, "x": None}, False),
        ({"sinceUs": 0, "x": ""}, True),
        (None, True),
    ):
        assert differs_on_the_wire(None, query) is differs
