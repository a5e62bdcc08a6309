"""A cluster with a CA of its own, over real sockets: who is let in, what renews itself, and what is said otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from eyeflow.base.clock import wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.client.pinned import fetch_ca
from eyeflow.client.profile import ClientProfile
from eyeflow.coordinator import serve as serve_module
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.serve import ServeOptions, Started, serve
from eyeflow.coordinator.tls import Authorities, OwnTls, init_tls, open_tls, server_names
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster import certificate as certificate_module
from eyeflow.node.cluster.certificate import LINK_FILE, LinkCertificate
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import JoinResult, Membership, ask_to_join
from eyeflow.protocol import certificates
from eyeflow.protocol.certificates import Authority, Request

from .test_security import proof_of

DAY_S = 86_400
DAY_US = DAY_S * 1_000_000


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What is left is collected here, where it is expected, and not within a test of others."""
    yield
    gc.collect()


async def all_said_goodbye() -> bool:
    """Whether no connection of this loop is open: TLS takes a round trip to close one, and both ends live here.

    A transport that outlives its loop says that nobody closed it.
    """
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    return all(one._sock is None for one in list(transports.values()))


class Plant:
    """A coordinator with its own CA, and nodes that dial it."""

    def __init__(self, directory: Path, make: Any) -> None:
        self.directory, self.make = directory, make
        self.data = directory / "coordinator"
        self.tls = init_tls(self.data, server_names(["localhost"]), wall_clock_us())
        self.url, self.port, self.token = "", 0, ""
        self.now_us: Callable[[], int] = wall_clock_us

    @contextlib.asynccontextmanager
    async def coordinator(self) -> AsyncIterator[httpx.AsyncClient]:
        ready: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        options = ServeOptions(self.data, port=self.port, profile_path=self.directory / "client.toml")
        serving = asyncio.create_task(serve(options, ready.set_result, stop))
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        self.url = ready.result().url
        self.port = int(self.url.rsplit(":", 1)[1])
        self.token = ready.result().token_path.read_text().strip()
        headers = {"Authorization": f"Bearer {self.token}"}
        trusted = ssl.create_default_context(cafile=str(self.data / "tls" / "ca.pem"))
        try:
            async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, verify=trusted) as client:
                yield client
        finally:
            stop.set()
            await serving
            await self.make.until(all_said_goodbye, "every connection is closed")

    async def join_token(self, client: httpx.AsyncClient) -> str:
        return str((await client.post("/api/nodes/join-tokens", json={})).json()["token"])

    async def join(self, client: httpx.AsyncClient, node: Any, url: str = "") -> JoinResult:
        token = await self.join_token(client)
        joined = await ask_to_join(url or self.url, token, node.name, node.sign, node.key.public_key)
        Membership(self.directory / node.name).join(joined)
        return joined

    def link(self, node: Any) -> CoordinatorLink:
        membership = Membership(self.directory / node.name)
        return CoordinatorLink(node, membership, backoff=Backoff(first_s=0.02, last_s=0.05), now_us=self.now_us)

    @contextlib.asynccontextmanager
    async def dialing(self, node: Any) -> AsyncIterator[CoordinatorLink]:
        link = self.link(node)
        task = asyncio.create_task(link.run())
        try:
            yield link
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def up(self, link: CoordinatorLink) -> None:
        async def is_up() -> bool:
            return bool(link.status.state == "up")

        await self.make.until(is_up, "the link is up")

    async def says(self, link: CoordinatorLink, *words: str) -> None:
        async def told() -> bool:
            return all(word in link.status.detail for word in words)

        try:
            await self.make.until(told, str(words))
        except TimeoutError:
            raise AssertionError(link.status.detail) from None

    def keep(self, node: str, authority: Authority, name: str, now_us: int) -> None:
        """Put a certificate where a node keeps its own."""
        asked = Request.new(name)
        path = self.directory / node / LINK_FILE
        path.write_text(asked.key + authority.node(name, asked.request, now_us))
        path.chmod(0o600)

    def certificate(self, node: str) -> certificates.Facts:
        return certificates.facts((self.directory / node / LINK_FILE).read_text())


@pytest.fixture
def plant(tmp_path: Path, make: Any) -> Plant:
    return Plant(tmp_path, make)


def test_a_node_joins_by_the_fingerprint_and_its_certificate_opens_its_link(plant: Plant, make: Any) -> None:
    async def scenario() -> None:
        node = make.control("node-a")
        async with plant.coordinator() as client:
            assert plant.url.startswith("https://")
            joined = await plant.join(client, node)
            assert joined.ca == plant.tls.ca
            async with plant.dialing(node) as link:
                await plant.up(link)
                path = plant.directory / "node-a" / LINK_FILE
                assert path.stat().st_mode & 0o777 == 0o600
                facts = plant.certificate("node-a")
                assert facts.common_name == "node-a" and facts.until_us - wall_clock_us() < 7 * DAY_US
                assert (await client.get("/api/nodes/node-a")).json()["connected"]
        assert ClientProfile.load(plant.directory / "client.toml", {}).ca_file == str(plant.tls.ca_file)

    asyncio.run(scenario())


def test_a_link_needs_signature_and_certificate_of_the_same_node(plant: Plant, make: Any) -> None:
    async def opens(client: httpx.AsyncClient, node: Any, certificate: str) -> str:
        _, header = await proof_of(plant, client, node)
        context = ssl.create_default_context(cadata=plant.tls.ca)
        if certificate:
            context.load_cert_chain(plant.directory / certificate / LINK_FILE)
        url = plant.url.replace("https", "wss") + "/api/link"
        try:
            async with connect(url, additional_headers={"Authorization": header}, proxy=None, ssl=context):
                return "open"
        except InvalidStatus as refused:
            return (refused.response.body or b"").decode()
        except (ssl.SSLError, OSError, EOFError, InvalidMessage) as error:
            return f"TLS {error!r}"

    async def scenario() -> None:
        async with plant.coordinator() as client:
            for name in ("node-a", "node-b"):
                node = make.control(name)
                await plant.join(client, node)
                plant.keep(name, plant.tls.authority, name, wall_clock_us())
                setattr(plant, name, node)
            node = getattr(plant, "node-a")
            assert await opens(client, node, "node-a") == "open", "the control"
            assert "has no certificate" in await opens(client, node, "")
            assert "names node-b" in await opens(client, node, "node-b")
            stranger = make.control("node-a")
            assert "signature" in await opens(client, stranger, "node-a"), "a stolen certificate alone"
            plant.keep("node-a", Authority.new(wall_clock_us()), "node-a", wall_clock_us())
            assert "TLS" in await opens(client, node, "node-a"), "of another CA"
            plant.keep("node-a", plant.tls.authority, "node-a", wall_clock_us() - 8 * DAY_US)
            assert "TLS" in await opens(client, node, "node-a"), "expired"

    asyncio.run(scenario())


@pytest.mark.parametrize("renews", [True, False], ids=["", "control"])
@pytest.mark.parametrize("kept", ["expired", "half over", "of another CA", "damaged"])
def test_a_certificate_renews_itself(
    plant: Plant, make: Any, kept: str, renews: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the node was away for longer than its certificate lasted: its own key says who it is."""
    if not renews:
        monkeypatch.setattr(LinkCertificate, "is_due", lambda _: False)
        monkeypatch.setattr(LinkCertificate, "forget", lambda _: None)

    async def scenario() -> None:
        node, now_us = make.control("node-a"), wall_clock_us()
        async with plant.coordinator() as client:
            await plant.join(client, node)
            path = plant.directory / "node-a" / LINK_FILE
            if kept == "of another CA":
                plant.keep("node-a", Authority.new(now_us), "node-a", now_us)
            elif kept == "damaged":
                path.write_text("-----BEGIN PRIVATE KEY-----")
            else:
                plant.keep("node-a", plant.tls.authority, "node-a", now_us - (8 if kept == "expired" else 4) * DAY_US)
            before = path.read_text()
            async with plant.dialing(node) as link:
                if renews:
                    await plant.up(link)
                    assert path.read_text() != before
                    assert plant.certificate("node-a").is_valid(wall_clock_us() + 6 * DAY_US)
                elif kept == "half over":
                    await plant.up(link)
                    assert path.read_text() == before
                else:

                    async def tried() -> bool:
                        return link.status.counters["dials"] > 3

                    await plant.make.until(tried, "it has dialled")
                    assert link.status.counters["connects"] == 0

    asyncio.run(scenario())


def test_a_certificate_renews_itself_while_the_link_is_up(
    plant: Plant, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyeflow.node.cluster import link as link_module

    monkeypatch.setattr(link_module, "RENEW_LOOK_S", 0.02)

    async def scenario() -> None:
        node = make.control("node-a")
        async with plant.coordinator() as client:
            await plant.join(client, node)
            async with plant.dialing(node) as link:
                await plant.up(link)
                first = plant.certificate("node-a")
                monkeypatch.setattr(certificate_module, "RENEW_LEFT", 2.0)

                async def renewed() -> bool:
                    return plant.certificate("node-a") != first

                await plant.make.until(renewed, "another certificate")
                assert link.status.state == "up" and link.status.counters["connects"] == 1

    asyncio.run(scenario())


def test_a_removed_node_gets_no_certificate(plant: Plant, make: Any) -> None:
    async def scenario() -> None:
        node = make.control("node-a")
        async with plant.coordinator() as client:
            await plant.join(client, node)
            assert (await client.delete("/api/nodes/node-a")).status_code == 204
            async with plant.dialing(node) as link:
                await plant.says(link, "gave no certificate", "no such node")
            assert not (plant.directory / "node-a" / LINK_FILE).exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_far_off_is_said_with_both_times(plant: Plant, make: Any, years: int) -> None:
    async def scenario() -> None:
        node = make.control("node-a")
        async with plant.coordinator() as client:
            await plant.join(client, node)
            plant.now_us = lambda: wall_clock_us() + years * 365 * DAY_US
            async with plant.dialing(node) as link:
                here = datetime.datetime.now(datetime.UTC)
                await plant.says(link, "clock", f"{here:%Y-%m-%d}", str((here + datetime.timedelta(years * 365)).year))
                plant.now_us = wall_clock_us
            async with plant.dialing(node) as link:
                await plant.up(link)

    asyncio.run(scenario())


def refusal(error: EyeflowError) -> str:
    return f"{error.code}: {error.message} {error.cause} {error.next_step}"


def test_a_token_of_another_ca_is_refused_before_it_is_sent(plant: Plant, make: Any) -> None:
    asked: list[str] = []

    def answer(path: str) -> bytes:
        asked.append(path)
        return b'{"ca": ""}'

    async def scenario() -> None:
        node = make.control("node-a")
        async with plant.coordinator() as client:
            token = await plant.join_token(client)
            other = token[:-32] + "0" * 32
            for url, given, code, words in (
                (plant.url, other, "wrong_ca", "make a new join token"),
                (plant.url.replace("https", "http"), token, "join_refused", "write the URL with https://"),
                (plant.url, token[:-1], "join_refused", "copy it whole"),
            ):
                with pytest.raises(EyeflowError) as error:
                    await ask_to_join(url, given, "node-a", node.sign, node.key.public_key)
                assert code in refusal(error.value) and words in refusal(error.value)
            assert (await client.get("/api/nodes")).json()["nodes"] == []
            joined = await ask_to_join(plant.url, token, "node-a", node.sign, node.key.public_key)
            assert joined.ca, "the control: none of them has used it up"
            with pytest.raises(EyeflowError) as error:
                await ask_to_join(plant.url, token, "node-b", node.sign, node.key.public_key)
            assert error.value.code == "bad_join_token" and "join-token" in error.value.next_step

    asyncio.run(scenario())


def test_a_stranger_at_the_address_gets_neither_token_nor_request(
    plant: Plant, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He serves with a CA of his own, and shows the public CA of the cluster: he has not its key."""
    strange = Plant(tmp_path / "strange", make)
    seen: list[str] = []
    read = make_app

    def listening(hub: Any) -> Any:
        app = read(hub)

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            seen.append(str(scope.get("path", "")))
            await app(scope, receive, send)

        return noting

    monkeypatch.setattr(serve_module, "make_app", listening)

    async def scenario() -> None:
        async with plant.coordinator() as client:
            token = await plant.join_token(client)
        own, node = plant.tls.ca, make.control("node-a")
        async with strange.coordinator():
            del seen[:]
            with pytest.raises(EyeflowError) as error:
                await ask_to_join(strange.url, token, "node-a", node.sign, node.key.public_key)
            assert error.value.code == "wrong_ca"
            monkeypatch.setattr(OwnTls, "ca", property(lambda _: own))
            with pytest.raises(EyeflowError) as error:
                await ask_to_join(strange.url, token, "node-a", node.sign, node.key.public_key)
            assert "certificate is not trusted" in error.value.cause and "new token" in error.value.next_step
        assert [path for path in seen if path] == ["/api/ca", "/api/ca"]

    asyncio.run(scenario())


def test_an_address_that_the_certificate_does_not_name_is_said(plant: Plant, make: Any) -> None:
    async def scenario() -> None:
        plant.tls.make_server(["plant.example"], wall_clock_us())
        node = make.control("node-a")
        async with plant.coordinator() as client:
            client.headers["Host"] = "x"
            context = ssl.create_default_context(cadata=plant.tls.ca)
            context.check_hostname = False
            headers = {"Authorization": f"Bearer {plant.token}"}
            async with httpx.AsyncClient(
                base_url=plant.url, headers=headers, trust_env=False, verify=context
            ) as any_name:
                token = await plant.join_token(any_name)
            with pytest.raises(EyeflowError) as error:
                await ask_to_join(plant.url, token, "node-a", node.sign, node.key.public_key)
            assert "eyeflow coordinator init --name HOST" in error.value.next_step

    asyncio.run(scenario())


@pytest.mark.parametrize("vouched", [True, False], ids=["", "control"])
def test_nodes_follow_to_a_new_ca_by_themselves_also_those_that_were_away(
    plant: Plant, make: Any, vouched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "FRESH_S", 0.02)

    async def scenario() -> None:
        here, away = make.control("node-a"), make.control("node-b")
        async with plant.coordinator() as client:
            for node in (here, away):
                await plant.join(client, node)
            async with plant.dialing(away) as link:
                await plant.up(link)
            async with plant.dialing(here) as link:
                await plant.up(link)
                other = OwnTls(plant.data / "tls")
                first = other.ca
                if vouched:
                    other.replace_authority(wall_clock_us())
                    other.replace_authority(wall_clock_us())
                else:
                    other._keep(Authorities(Authority.new(wall_clock_us())))
                    other.prepare(wall_clock_us())
                assert other.ca != first

                async def served() -> bool:
                    try:
                        return await fetch_ca(plant.url, "") == other.ca
                    except EyeflowError:
                        return False

                await make.until(served, "the running coordinator has the new CA")
            for node in (here, away):
                async with plant.dialing(node) as link:
                    if vouched:
                        await plant.up(link)
                        assert link.status.counters["dials"] == 1, "its certificate of the first CA is taken"
                    else:
                        await plant.says(link, "certificate is not trusted", "join again with a new token")
            if vouched:
                # Their certificates are of the first CA still. The next ones are not, and bring the new CA.
                monkeypatch.setattr(certificate_module, "RENEW_LEFT", 2.0)
                for node in (here, away):
                    async with plant.dialing(node) as link:
                        await plant.up(link)
                    joined = Membership(plant.directory / node.name).joined()
                    assert joined is not None and joined.ca == other.ca
                monkeypatch.setattr(certificate_module, "RENEW_LEFT", 0.5)
                other.forget_earlier(wall_clock_us())
        async with plant.coordinator():
            for node in (here, away):
                async with plant.dialing(node) as link:
                    if vouched:
                        await plant.up(link)

    asyncio.run(scenario())


def test_a_start_renews_what_is_due_and_mends_what_a_crash_left(plant: Plant) -> None:
    tls, now_us = plant.tls, wall_clock_us()
    tls.make_server(["plant.example"], now_us - 61 * DAY_US)
    tls.prepare(now_us)
    assert tls.server_facts().until_us > now_us + 89 * DAY_US, "less than a third of its time was left"
    assert tls.server_facts().names == ("plant.example",), "for the same names"
    kept = tls.server_file.read_text()
    tls.prepare(now_us + 59 * DAY_US)
    assert tls.server_file.read_text() == kept, "the control: not before"
    tls.ca_file.unlink()
    tls.server_file.unlink()
    again = open_tls(plant.data)
    assert again is not None
    again.prepare(now_us)
    assert again.ca_file.read_text() == tls.ca and again.server_facts().is_valid(now_us)
    with pytest.raises(EyeflowError) as error:
        (plant.data / "tls" / "authority.pem").write_text(tls.ca)
        open_tls(plant.data)
    assert error.value.code == "tls_file" and "backup" in error.value.next_step
    (plant.data / "tls" / "authority.pem").chmod(0o644)
    with pytest.raises(EyeflowError) as error:
        open_tls(plant.data)
    assert error.value.code == "permissions"


def test_a_crash_between_two_files_of_a_new_ca_is_mended(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(OwnTls, "make_server", lambda *_: None)
        plant.tls.replace_authority(wall_clock_us())
    again = open_tls(plant.data)
    assert again is not None and not again._is_signed_now()
    again.prepare(wall_clock_us())
    assert again._is_signed_now()


@pytest.mark.parametrize("name", ["https://plant.example", "plant example", "", "-", "plant.example:7700/x", "ü" * 300])
def test_a_name_is_a_host_or_an_address(name: str) -> None:
    with pytest.raises(EyeflowError) as error:
        server_names([name])
    assert error.value.code == "usage" and "--name" in error.value.next_step
    assert server_names(["plant.example", "2001:db8::1"])[:2] == ("plant.example", "2001:db8::1")
