"""The link of a node to its cluster: joins first when it has not, and never holds the node up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import JoinResult, Membership, ask_to_join
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.config.tables import secret
from eyeflow.node.control import Link
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.runtime import NodeRuntime


def open_link(node: NodeRuntime) -> Link | None:
    """Return the link to the coordinator that the node joined or is told to join, None when it runs alone.

    Nothing is read yet: what is wrong with the files of the membership is the link's trouble, not that of the rules.
    """
    membership = Membership(node.config.data_dir, node.machine.write_whole)
    return JoiningLink(node, membership) if membership.is_there or node.config.coordinator.url else None


def trust_first(node: NodeRuntime, joined: JoinResult) -> None:
    """Trust the signers that the cluster named when the node joined, until a manifest names others."""
    if not node.knows_cluster_signers:
        node.trust(joined.signers)


class JoiningLink:
    """Joins the cluster of `[coordinator]` with its token when it has not, trying for ever; then it is the link itself.

    A membership that cannot be read fails it with the reason. The daemon runs it again from time to time, so that a
    repaired file needs no restart.
    """

    def __init__(self, node: NodeRuntime, membership: Membership) -> None:
        self._node, self._membership = node, membership
        self.status = PortStatus("coordinator", counters={"dials": 0, "connects": 0, "manifests": 0})
        self._rng = node.machine.random
        self._link = CoordinatorLink(
            node,
            membership,
            node.trust,
            status=self.status,
            now_us=node.clock.now_us,
            random=self._rng,
            others=node.config.coordinator.others,
            on_signer_list=node.take_signer_list if node.roots.roots else None,
            hands_on=node.config.offline.reconcile_on_reconnect,
            catch_up_bytes_per_s=node.config.offline.catch_up_bytes_per_s,
        )

    @property
    def url(self) -> str:
        """The coordinator that the node has joined or, until it has, the one of its configuration."""
        return self._link.url or self._node.config.coordinator.url

    async def run(self) -> None:
        """Run until cancelled. Raises EyeflowError for a membership that cannot be read."""
        backoff = Backoff(self._rng)
        while (joined := self._membership.joined() or await self._try()) is None:
            await asyncio.sleep(backoff.next_s())
        trust_first(self._node, joined)
        await self._link.run()

    async def _try(self) -> JoinResult | None:
        config = self._node.config.coordinator
        try:
            token = join_token(config)
            name, key = self._node.identity.name, self._node.identity.public_key
            ca_file = str(config.ca_file or "")
            joined = await ask_to_join(config.url, token, name, self._node.sign, key, ca_file)
            self._membership.join(joined)
        except EyeflowError as error:
            self.status.state = "connecting"
            self.status.detail = error.whole
            return None
        return joined


def join_token(config: CoordinatorConfig) -> str:
    """Return the join token of the configuration. Raises EyeflowError when there is none."""
    token = secret("coordinator", config.token_env, Path(config.token_file) if config.token_file else None)
    if not token:
        raise EyeflowError(
            "this node has not joined a cluster and has no join token",
            cause="[coordinator] names neither token_env nor token_file.",
            next_step="Run `eyeflow node join URL --token TOKEN`, or name a file that holds the token.",
            code="no_join_token",
        )
    return token
