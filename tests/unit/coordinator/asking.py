"""What users ask of the coordinator in the tests."""

from __future__ import annotations

from typing import Any

OCTETS = {"Content-Type": "application/octet-stream"}


async def upload(client: Any, program: bytes) -> str:
    reply = await client.post("/api/programs", content=program, headers=OCTETS)
    assert reply.status_code in {200, 201}, reply.text
    return str(reply.json()["id"])


async def deploy(client: Any, **body: Any) -> str:
    reply = await client.post("/api/rules/overheat/deploy", json={"all": True} | body)
    assert reply.status_code == 202, reply.text
    return str(reply.headers["location"])
