"""One run: a cluster is set up, bad things happen to it in an order that follows from the seed, and it comes to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from eyeflow.node.store.file import PAGE_BYTES, STORE_NAME
from simulation import judgement
from simulation.begun import begun, go_on, set_up
from simulation.cluster import Cluster, Host, NodeHost
from simulation.copies import check_copy
from simulation.disk import Failure, Image
from simulation.judgement import Known
from simulation.loop import pass_time
from simulation.programs import BAD, FATAL, RULES, SIGNERS, Built, programs, topic_of
from simulation.records import (
    Chain,
    check_actions,
    check_events,
    check_manifests,
    check_sent,
    promise,
    read_chain,
    read_pending,
)

NODES = ("a", "b", "c")
STEPS = 30
PAUSE_S_MAX = 8.0
DEADLINE_S = 90
BUSY_SHARE = 0.7
FATAL_S = 30
"""How long a program is watched that ends its node: until it did so more often than `startsMax`."""
STRATEGIES = ("immediate", "immediate", "rolling", "canary", "blue_green", "shadow")
REST_S_MAX, LOOK_S = 600.0, 5.0
"""How long a cluster without faults may take until nothing is left to do; how often it is looked at meanwhile."""


class Story:
    """Drives one cluster. `run` raises BrokenPromise when an invariant does not hold."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.before = begun(NODES, NODES[-1])
        self.cluster = Cluster(seed, directory, NODES, refuses=NODES[-1])
        self.cluster.loop.begin_at(self.before.time_s)
        self.rng = Random(f"{seed} story")
        self.known = {name: Known() for name in NODES}
        self.events = 0
        self.accepted_ids: list[str] = []
        """Deployments that the coordinator has answered 202 to."""
        self.retired: dict[tuple[str, str], int] = {}
        """(node, rule) -> how many deployments there were when it was taken off the node, or may have been."""
        self.coordinator_rewound = False
        self.old_coordinator: Image | None = None
        self.old_images: dict[str, tuple[Image, int]] = {}
        self.promoted: set[str] = set()
        """Deployments that somebody took upon them, or may have."""
        self.watches_s = 0
        """For how long the next deployment is watched; 0: for as long as the seed says, if at all."""
        self.revoked: bool | None = False
        """Whether the second signer's key is revoked; None: nobody knows."""
        self.is_resting = False
        self.moves = self._moves()
        self.happened: dict[str, int] = {}
        self.ended: list[dict[str, Any]] = []

    def run(self) -> None:
        self.cluster.run(lambda cluster: self._tell())

    def counts(self) -> Counter[str]:
        """Return how often things happened in this run."""
        hosts = [self.cluster.coordinator, *self.cluster.nodes.values()]
        counted = Counter(self.happened) + Counter(one["state"] for one in self.ended)
        counted += Counter(f"{one['strategy']} {one['state']}" for one in self.ended)
        counted += judgement.counts_of(self.ended)
        counted["deployments"] = len(self.ended)
        counted["starts"] = sum(host.starts for host in hosts)
        counted["deaths"] = sum(host.deaths for host in hosts)
        for node in self.cluster.nodes.values():
            counted["acknowledged"] += len(node.plant.acknowledged)
            counted["published"] += sum(len(life.published) for life in node.plant.lives)
            counted["fired"] += sum(len(life.fired) for life in node.plant.lives)
        return counted

    async def _tell(self) -> None:
        await self._begin()
        for _ in range(STEPS):
            await pass_time(self.rng.uniform(0.05, PAUSE_S_MAX) if self.rng.random() < 0.7 else 0.05)
            await self._step()
        await self._rest()
        await self._check_cluster()
        await self._stop_all()

    # --- what is done to the cluster

    async def _begin(self) -> None:
        """Go on with the disks of a cluster that was set up before."""
        self._watch_images()
        await go_on(self.cluster, self.before)
        await self._deploy_all()

    async def _set_up(self) -> None:
        """Set all up from nothing."""
        self._watch_images()
        await set_up(self.cluster, self._programs())
        await self._deploy_all()

    def _watch_images(self) -> None:
        for node in self.cluster.nodes.values():
            node.on_image = lambda image, node=node: self._look_at(node, image)  # type: ignore[misc]

    async def _deploy_all(self) -> None:
        for rule in RULES:
            await self._deploy(rule, 0, NODES, True)
        await pass_time(3.0)

    def _programs(self) -> Iterable[Built]:
        """Return the programs that the coordinator is given."""
        return programs()

    def _moves(self) -> dict[Callable[[], Awaitable[None] | None], int]:
        """Return how often each thing is done in this run: many not at all, others often.

        That finds more than doing all of them everywhere (A. Groce and others, Swarm Testing, ISSTA 2012).
        """
        usual: dict[Callable[[], Awaitable[None] | None], int] = {
            self._some_deployment: 8,
            self._bad_deployment: 6,
            self._deploy_set: 2,
            self._steer: 4,
            self._some_events: 10,
            self._crash_node: 6,
            self._crash_coordinator: 4,
            self._pause_node: 2,
            self._cut_off: 4,
            self._break_connections: 3,
            self._fail_disk: 4,
            self._revoke_or_trust: 2,
            self._retire: 1,
            self._restore_node: 1,
            self._copy_node: 1,
            self._wipe_node: 1,
            self._restore_coordinator: 1,
            self._set_clock: 1,
        }
        always = (self._some_deployment, self._some_events)
        factors = {move: self.rng.choice((0, 1, 1, 4)) for move in usual}
        return {move: weight * (factors[move] or (1 if move in always else 0)) for move, weight in usual.items()}

    async def _step(self) -> None:
        (move,) = self.rng.choices(list(self.moves), list(self.moves.values()))
        name = move.__name__.strip("_")
        self.happened[name] = self.happened.get(name, 0) + 1
        self.cluster.trace.add(f"- {name}")
        waits = move()
        if waits is not None:
            await waits

    def _some_node(self) -> NodeHost:
        return self.cluster.nodes[self.rng.choice(NODES)]

    async def _some_deployment(self) -> None:
        nodes = tuple(sorted(self.rng.sample(NODES, self.rng.randint(1, len(NODES)))))
        how = (self.rng.random() < 0.8, self.rng.choice(STRATEGIES))
        await self._deploy(self.rng.choice(RULES), self.rng.randrange(4), nodes, *how)

    async def _deploy(
        self, rule: str, number: int, nodes: tuple[str, ...], rollback: bool, strategy: str = "immediate"
    ) -> None:
        body = {**self._how(nodes, rollback, strategy), **self._change(rule, number)}
        del body["rule"]
        await self._ask_to_deploy(f"/api/rules/{rule}/deploy", body, f"{rule} {number}")

    async def _bad_deployment(self) -> None:
        """One that somebody watches: else it would pass whatever it does."""
        nodes = tuple(sorted(self.rng.sample(NODES, self.rng.randint(1, len(NODES)))))
        kind = self.rng.choice(list(BAD))
        how = (kind in FATAL or self.rng.random() < 0.8, self.rng.choice(STRATEGIES))
        self.watches_s = FATAL_S if kind in FATAL else self.rng.choice([2, 5, 10])
        rule = self.rng.choice(RULES)
        await self._deploy(rule, BAD[kind], nodes, *how)
        self.watches_s = 0
        if self.rng.random() < BUSY_SHARE:  # else it is one without traffic, unless events come by chance
            for node in nodes:
                self._events_for(self.cluster.nodes[node], rule, self.rng.choice([10, 40]), 10.0)
            await pass_time(self.rng.uniform(0, 20.0))

    async def _deploy_set(self) -> None:
        """Both rules as one; now and then one of them goes."""
        nodes = tuple(sorted(self.rng.sample(NODES, self.rng.randint(1, len(NODES)))))
        changes = [self._change(rule, self.rng.randrange(4)) for rule in RULES]
        if self.rng.random() < 0.2:
            changes[0] = {"rule": changes[0]["rule"], "remove": True}
        body = {**self._how(nodes, self.rng.random() < 0.8, self.rng.choice(STRATEGIES)), "changes": changes}
        await self._ask_to_deploy("/api/deployments", body, "both rules")

    def _how(self, nodes: tuple[str, ...], rollback: bool, strategy: str) -> dict[str, Any]:
        watches: dict[str, Any] = {
            "observeS": self.watches_s or self.rng.choice([2, 5, 10]),
            "samplesMin": self.rng.choice([1, 3, 10]),
            "steps": self.rng.choice([[50], [20, 60]]),
            "batch": self.rng.choice([1, 1, 2]),
            "startsMax": self.rng.choice([0, 3]),
        }
        is_watched = self.watches_s or strategy != "immediate" or self.rng.random() < 0.5
        return {
            "nodeIds": list(nodes),
            "rollbackOnError": rollback,
            "deadlineS": DEADLINE_S,
            "strategy": strategy,
            "options": watches if is_watched else {},
        }

    def _change(self, rule: str, number: int) -> dict[str, Any]:
        program = [one for one in programs() if one.rule == rule][number]
        return {"rule": rule, "programId": program.id, "params": {"limit": self.rng.choice([1, 2])}}

    async def _ask_to_deploy(self, path: str, body: dict[str, Any], what: str) -> None:
        status, answer = await self.cluster.call("POST", path, body)
        told = f"{what} to {','.join(body['nodeIds'])} by {body['strategy']}"
        self.cluster.trace.add(f"  {told}: {status} {(answer or {}).get('id', '')}")
        if status == 202:
            self.accepted_ids.append(answer["id"])
        refusals = ("revoked", "trust", "unfit_nodes")  # the signer's key is not trusted, or a node grants too little
        promise(status in {0, 202, 503} or any(word in str(answer) for word in refusals), f"API: {status} {answer}")

    async def _steer(self) -> None:
        status, answer = await self.cluster.call("GET", "/api/deployments")
        verb = self.rng.choice(["cancel", "pause", "resume", "resume", "promote", "rollback"])
        for one in answer["deployments"][:2] if status == 200 else []:
            if verb == "promote" and judgement.kinds_of(one) & FATAL:
                continue  # its node would crash for ever
            if verb == "promote":
                self.promoted.add(one["id"])
            status, _ = await self.cluster.call("POST", f"/api/deployments/{one['id']}/{verb}")
            self.cluster.trace.add(f"  {verb} {one['id']}: {status}")
            promise(status in {0, 202, 404, 409, 503}, f"API: {verb} {status}")

    def _some_events(self) -> None:
        self._events_for(self._some_node(), self.rng.choice(RULES), self.rng.choice([1, 3, 10, 40]), 2.0)

    def _events_for(self, node: NodeHost, rule: str, count: int, within_s: float) -> None:
        for number in range(self.events + 1, self.events + 1 + count):
            self.cluster.later(
                self.rng.uniform(0, within_s), lambda number=number: node.plant.happen(number, topic_of(rule))
            )
        self.events += count

    def _crash_node(self) -> None:
        self._crash(self._some_node(), 40.0)

    def _crash_coordinator(self) -> None:
        self._crash(self.cluster.coordinator, 20.0)

    def _crash(self, host: Host, down_s: float) -> None:
        way = self.rng.random()
        steps = self.rng.randrange(1, 300) if way < 0.6 else -1
        writes = self.rng.randrange(0, 10) if way >= 0.6 else -1
        host.crash(self.rng.random() < 0.5, self.rng.uniform(0.1, down_s), steps, writes)

    def _start_later(self, host: Host, within_s: float) -> None:
        self.cluster.later(self.rng.uniform(0.1, within_s), lambda: None if self.is_resting else host.start())

    def _pause_node(self) -> None:
        node = self._some_node()
        if node.runs:
            node.stop()
            self._start_later(node, 40.0)

    def _cut_off(self) -> None:
        name = self.rng.choice([*NODES, "coordinator"])
        self.cluster.network.cut_off.add(name)
        self.cluster.later(self.rng.uniform(0.5, 50.0), lambda: self.cluster.network.heal(name))

    def _break_connections(self) -> None:
        host = self.rng.choice([*self.cluster.nodes.values(), self.cluster.coordinator])
        if host.process is not None:
            self.cluster.network.cut(host.process)

    def _fail_disk(self) -> None:
        host = self.rng.choice([*self.cluster.nodes.values(), self.cluster.coordinator])
        disk = host.disk
        assert disk is not None
        way = self.rng.choice(list(Failure))
        disk.failure = way

        def mend() -> None:
            disk.failure = None

        self.cluster.later(self.rng.uniform(0.05, 15.0), mend)

    async def _revoke_or_trust(self) -> None:
        key, was = SIGNERS["second"][1].hex(), self.revoked
        self.revoked = None
        if was:
            status, _ = await self.cluster.call("POST", "/api/keys", {"publicKey": key, "name": "second"})
        else:
            status, _ = await self.cluster.call("DELETE", f"/api/keys/{key}")
        if status in {201, 204}:
            self.revoked = not was

    async def _retire(self) -> None:
        node, rule = self._some_node().name, self.rng.choice(RULES)
        status, _ = await self.cluster.call("DELETE", f"/api/nodes/{node}/rules/{rule}")
        if status in {0, 204, 503}:
            self.retired[node, rule] = len(self.accepted_ids) if status == 204 else -1

    async def _restore_node(self) -> None:
        """Bring an old image of a node's disk back, or keep one for later."""
        node = self._some_node()
        if not node.runs or self.known[node.name].rewound:
            return
        if node.name not in self.old_images:
            self.old_images[node.name] = (node.disk.after_kill(), node.disk.syncs)  # type: ignore[union-attr]
            return
        image, _ = self.old_images.pop(node.name)
        self._rewind(node, image, "restored")

    def _rewind(self, node: NodeHost, image: Image, how: str) -> None:
        node.down()
        self.known[node.name] = Known(rewound=how, wiped=how == "wiped")
        node.image = image
        self._start_later(node, 10.0)

    async def _copy_node(self) -> None:
        """Start a second machine from a copy of a node's disk, for a while."""
        node = self._some_node()
        if not node.runs or self.cluster.copies or self.known[node.name].rewound:
            return
        self.known[node.name].rewound = "copied"
        copy = NodeHost(self.cluster, f"{node.name}~copy")
        copy.image = node.disk.after_kill()  # type: ignore[union-attr]
        self.cluster.copies.append(copy)
        copy.start()
        self.cluster.later(self.rng.uniform(20.0, 60.0), copy.down)

    async def _wipe_node(self) -> None:
        """Lose a node's store, and nothing else: it is gone, or its first page is."""
        node = self._some_node()
        if not node.runs or self.known[node.name].rewound:
            return
        image = dict(node.disk.after_kill())  # type: ignore[union-attr]
        for name in [one for one in image if one.startswith(STORE_NAME)]:
            data = image.pop(name)
            if self.cluster.seed % 2:  # no number of `rng`: the steps that follow stay the same
                image[name] = bytes(PAGE_BYTES) + data[PAGE_BYTES:]
        self._rewind(node, image, "wiped")

    def _restore_coordinator(self) -> None:
        host = self.cluster.coordinator
        if not host.runs or self.coordinator_rewound:
            return
        if self.old_coordinator is None:
            self.old_coordinator = host.disk.after_kill()  # type: ignore[union-attr]
            return
        host.down()
        host.image, self.coordinator_rewound = self.old_coordinator, True
        self._start_later(host, 10.0)

    def _set_clock(self) -> None:
        host = self.rng.choice([*self.cluster.nodes.values(), self.cluster.coordinator])
        host.clock.ahead_us += self.rng.choice([-30, -2, 2, 30]) * 1_000_000

    # --- how it comes to rest

    async def _rest(self) -> None:
        """End all faults and wait until nothing is left to do."""
        cluster, self.is_resting = self.cluster, True
        for name in (*NODES, "coordinator"):
            cluster.network.heal(name)
        for copy in cluster.copies:
            copy.down()
        for host in (cluster.coordinator, *cluster.nodes.values()):
            if host.disk is not None:
                host.disk.failure, host.disk.dies_after = None, -1
            if host.process is not None:
                host.process.steps_left = host.process.effects_left = -1
        for host in (cluster.coordinator, *cluster.nodes.values()):
            host.start()
        if self.rng.random() < 0.5:
            await self._revoke_or_trust()
        quiet, until_s = 0, cluster.loop.time() + REST_S_MAX
        while quiet < 2 and cluster.loop.time() < until_s:
            await pass_time(LOOK_S)
            quiet = quiet + 1 if await self._is_quiet() else 0

    async def _is_quiet(self) -> bool:
        deployments, nodes = await self._deployments(), await self._nodes()
        waits = any(node.plant.is_behind for node in self.cluster.nodes.values())
        applied = all(one["connected"] and one["appliedVersion"] == one["manifestVersion"] for one in nodes.values())
        return all(one["over"] for one in deployments) and (applied or self.coordinator_rewound) and not waits

    async def _deployments(self) -> list[dict[str, Any]]:
        answer = await self.cluster.surely("GET", "/api/deployments")
        return list(reversed(answer["deployments"]))

    async def _nodes(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in (await self.cluster.surely("GET", "/api/nodes"))["nodes"]}

    async def _stop_all(self) -> None:
        """Stop all nodes in good order, and look at what they leave."""
        for node in self.cluster.nodes.values():
            node.stop()
        await pass_time(20.0)
        for node in self.cluster.nodes.values():
            promise(not node.runs, f"{node.name} does not stop")
            chain = self._look_at(node, node.image)
            if not self.known[node.name].rewound:
                check_sent(chain, node.plant, read_pending(node.image, self.cluster.directory / "look"))
        promise(not self.cluster.loop.faults, f"bugs: {self.cluster.loop.faults[:3]}")

    # --- what must hold

    def _look_at(self, node: NodeHost, image: Image) -> Chain:
        """A node's disk between two starts: nothing that counted is gone."""
        known, chain = self.known[node.name], read_chain(image, self.cluster.directory / "look")
        node.records = len(chain.records)
        before = known.chain.hashes
        promise(chain.hashes[: len(before)] == before, f"2: {node.name} lost records of its audit chain")
        known.chain = chain
        check_manifests(chain)
        judgement.check_state(chain)
        if not known.rewound or known.rewound == "copied":
            check_events(chain, node.plant)
            check_actions(chain, node.plant)
        return chain

    async def _check_cluster(self) -> None:
        listed, nodes = await self._deployments(), await self._nodes()
        deployments = [await self.cluster.surely("GET", f"/api/deployments/{one['id']}") for one in listed]
        self.ended = deployments
        for one in deployments:
            promise(one["over"], f"18: deployment {one['id']} never ends: {one}")
        if not self.coordinator_rewound:
            kept = {one["id"] for one in deployments}
            promise(set(self.accepted_ids) <= kept, "2: the coordinator lost deployments that it had accepted")
        for name, node in nodes.items():
            self._check_doubt(name, node)
            if not node["inDoubt"] and not self.coordinator_rewound:
                self._check_node(name, node, deployments)
                judgement.check_slots(name, node["health"], deployments)
            if not node["inDoubt"] and node["connected"] and not node["aheadVersion"]:  # else its link ends each time
                self.happened["copied records"] = self.happened.get("copied records", 0) + await check_copy(
                    self.cluster, name
                )
        if not self.coordinator_rewound:
            self._check_judgement(deployments)

    def _check_judgement(self, deployments: list[dict[str, Any]]) -> None:
        """Invariant 24: what was seen of a program decides what becomes of it."""
        sound = {name: host for name, host in self.cluster.nodes.items() if not self.known[name].rewound}
        look = self.cluster.directory / "look"
        chains = {name: read_chain(host.disk.after_kill(), look) for name, host in sound.items()}  # type: ignore[union-attr]
        for one in deployments:
            judgement.check_condemned(one)
            if one["id"] not in self.promoted:
                judgement.check_passed(one, chains)

    def _check_doubt(self, name: str, node: dict[str, Any]) -> None:
        known, kinds = self.known[name], {one["kind"] for one in node["findings"]}
        if not known.rewound:
            promise(not kinds, f"20: {name} is in doubt without a reason: {node['findings']}")
        if known.wiped:
            promise(kinds <= {"newEpoch"}, f"20: {name} lost its store, and passes for something else: {kinds}")

    def _check_node(self, name: str, node: dict[str, Any], deployments: list[dict[str, Any]]) -> None:
        promise(node["connected"], f"17: {name} does not come back: {node['problem']}")
        chain = read_chain(self.cluster.nodes[name].disk.after_kill(), self.cluster.directory / "look")  # type: ignore[union-attr]
        running = {
            one["name"]: one["programId"]
            for one in node["health"]
            if (one["slot"], one["state"]) == ("active", "running")
        }
        wanted = {one["rule"]: one for one in node["rules"] if one["wanted"]}
        for rule in RULES:
            if (name, rule) not in self.retired:
                judgement.check_wanted(name, rule, wanted.get(rule), deployments)
            self._check_running(name, rule, wanted.get(rule), running.get(rule, ""))
        head = node["head"]
        if head and chain.records and head["epoch"] == chain.epoch:
            promise(head["hash"] == chain.hashes[head["seq"] - 1].hex(), f"11: {name} and the coordinator disagree")

    def _check_running(self, name: str, rule: str, wanted: Any, here: str) -> None:
        """Invariant 16: a node runs what its manifest names, or has said why not, and nothing else."""
        target, state = (wanted["wanted"]["programId"], wanted["state"]) if wanted else ("", "none")
        promise(state != "pending", f"16: {name} never answered for {rule}: {wanted}")
        if state in {"installed", "none"}:
            promise(here == target, f"16: {name} runs {here[:8]} as {rule}, wanted is {target[:8]}")
        if self.revoked:
            revoked = any(one.id == here and one.signer == "second" for one in programs())
            promise(not revoked, f"6: {name} runs {rule}, signed with a revoked key")
