"""A TLS handshake that somebody stops waiting for leaves no open connection behind, for each of our clients."""

from __future__ import annotations

import asyncio
import gc
import socket

import httpx
import pytest

from eyeflow.net.bodies import CLOSING


async def left_open(hooks: object) -> int:
    """Dial a server that takes connections and says nothing; return how many are still open after giving up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with httpx.AsyncClient(timeout=None, event_hooks=hooks, trust_env=False) as client:  # type: ignore[arg-type]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.get(f"https://127.0.0.1:{port}/")
        await asyncio.sleep(0)
        taken, _ = silent.accept()
        with taken:
            taken.settimeout(5)
            try:
                while taken.recv(4096):  # the hello of TLS, then the end if the client has closed
                    pass
            except TimeoutError:
                return 1
        return 0


def test_a_handshake_that_is_given_up_is_closed() -> None:
    assert asyncio.run(left_open(CLOSING)) == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_control_without_the_hook_it_stays_open() -> None:
    assert asyncio.run(left_open({})) == 1
    gc.collect()  # here, and not within a test of others
