"""A board that is alone for hours: its node cannot reach it, and its rule goes on deciding. Then the line comes back.

The board is the very firmware image on an emulated chip, in the time of the loop. Node and coordinator are the real
daemons. Before each line that stays, the line breaks several times at a random byte, and the node is killed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from components.boards import TRUST, Lab
from eyeflow.board_link.messages import Request
from eyeflow.mcu.chips import find_chip
from eyeflow.mcu.sim.chip import SimulatedChip
from eyeflow.protocol.audit import Record, decode_record, verify_chain
from eyeflow.protocol.audit_bodies import BoardChainBody, BoardRecordBody, GapBody, InstallBody
from eyeflow.protocol.board_records import BoardLoss, first_chain, next_chain, read_execution
from eyeflow.svm.container import decode
from simulation.cluster import Cluster
from simulation.copies import kept_records
from simulation.loop import pass_time
from simulation.programs import SECRETS
from simulation.records import promise
from simulation.serial_line import SerialLine

GATEWAY, BOARD, RULE = "a", "press", "door_watch"
SOURCE = """rule door_watch {{
    version "1.{version}.0"
    pin DOOR: input
    pin RELAY: output
    pin HEATER: output
    on gpio DOOR rises {{
        gpio.set_pin(RELAY, HIGH)
        gpio.set_pin(HEATER, HIGH)
    }}
    on gpio DOOR falls {{
        gpio.set_pin(RELAY, LOW)
        gpio.set_pin(HEATER, HIGH)
    }}
}}
"""
BOARD_FILE = """
name = "door-watch"
{chip}
[scan]
period_ms = 1000
[pins]
RELAY = {{ pin = "{relay}", direction = "output", on_link_loss = "keep" }}
HEATER = {{ pin = "{heater}", direction = "output", safe = "low", on_link_loss = "safe" }}
DOOR = {{ pin = "{door}", direction = "input" }}
"""
"""It looks at its inputs once a second: so an hour takes seconds of this machine."""
SCAN_S = 1.0
DRIFT = 0.001
"""What the clock of a board that is alone may run too fast: a tick of 1/32768 s is no whole number of cycles at 16 MHz."""
LEVEL_OF_RELAY = 1
KNOWN = {Request.HELLO, Request.INFO, Request.HEALTH, Request.RECORDS_INFO}
"""What tells who a board is, what it runs, and what it recorded."""
STEPS_PER_HOUR = 400_000
CHANGES = {Request.PUSH_BEGIN, Request.STAGE_BEGIN, Request.SWITCH, Request.BACK, Request.REMOVE, Request.SET_PARAM}
LOOK_S, WITHIN_S = 0.5, 240.0
BREAKS = 4
BREAK_BYTES = (100, 3000)
KILL_STEPS = (20, 600)
DOWN_S = 5.0


@dataclass(frozen=True, slots=True)
class Away:
    """How long the line is cut, and how often the door opens or closes meanwhile. `brings`: a program is deployed, too."""

    hours: float
    changes: int
    brings: bool = False


@dataclass(frozen=True, slots=True)
class Wiring:
    """A chip with a board file for this, and what its simulator calls the pins."""

    lab: Lab
    heater: str
    door: str

    @property
    def room(self) -> int:
        """How many records of executions its ring holds: 33 bytes and one for the length each."""
        return find_chip(self.lab.chip).records_bytes // 34


def wiring(chip: str, link_port: int, header: str, pins: tuple[str, str, str], names: tuple[str, str, str]) -> Wiring:
    """Return a chip with its board file: `pins` of relay, heater and door, and the `names` of its simulator for them."""
    relay, heater, door = pins
    text = BOARD_FILE.format(chip=header, relay=relay, heater=heater, door=door) + TRUST
    return Wiring(Lab(chip, link_port, names[0], text), names[1], names[2])


STM32 = wiring(
    "STM32F401CC",
    1,
    'chip = "STM32F401CC"\n[link]\nuart = "USART1"\ntx = "PA9"\nrx = "PA10"\nbaud = 115200',
    ("PA5", "PB1", "PB0"),
    ("PA5", "PB1", "PB0"),
)
PICO = wiring(
    "RP2040",
    0,
    'chip = "RP2040"\n[link]\nuart = "UART0"\ntx = "GP0"\nrx = "GP1"\nbaud = 115200',
    ("GP2", "GP4", "GP3"),
    ("GPIO2", "GPIO4", "GPIO3"),
)


@dataclass(slots=True)
class Made:
    """What the board is to have recorded: for each record when the door moved, and whether it is lost with a full ring."""

    times_us: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """The numbers of those that did not fit."""


class LinkLoss:
    """Runs a board through each of `aways`. `run` raises BrokenPromise when something does not hold."""

    def __init__(self, seed: int, directory: Path, board: Wiring, aways: tuple[Away, ...], kills: bool = True) -> None:
        self.cluster = Cluster(seed, directory, (GATEWAY,), refuses="-")
        self.board, self.aways, self.kills, self.rng = board, aways, kills, self.cluster.rng
        self.cluster.loop.steps_max += round(STEPS_PER_HOUR * sum(away.hours for away in aways))
        self.made = Made()
        self.version = self.earlier = 0
        """`earlier` counts what was recorded before the last start of the board: it numbers from 0 again."""

    def run(self) -> None:
        chip = self.board.lab.start()
        try:
            self._wire(chip)
            self.cluster.run(lambda cluster: self._tell())
        finally:
            chip.close()

    def _wire(self, chip: SimulatedChip) -> None:
        chip.set_pin(self.board.door, False)
        self.chip = chip
        self.line = SerialLine(self.cluster.loop, self.cluster.network, BOARD, chip, self.board.lab.link_port)
        board_file = self.cluster.directory / "board.toml"
        board_file.write_text(self.board.lab.board_text)
        text = f'[[boards]]\nname = "{BOARD}"\nport = "socket://{BOARD}:1"\nboard_file = "{board_file}"\n'
        self.node.boards = text

    @property
    def told(self) -> str:
        """What happened in the run, for people."""
        made, lost, breaks = len(self.made.times_us), len(self.made.lost), self.line.breaks
        return f"{made} records, {lost} lost by the ring, the line broke {breaks} times, {self.node.deaths} kills"

    @property
    def node(self) -> Any:
        return self.cluster.nodes[GATEWAY]

    # --- what is done

    async def _tell(self) -> None:
        await self._begin()
        for away in self.aways:
            await self._until_quiet()
            await self._be_away(away)
        await self._until_quiet()
        await self._check()
        await self._stop_all()

    async def _begin(self) -> None:
        """Start everything, bring the rule to the board, and let it decide once."""
        cluster = self.cluster
        cluster.coordinator.start()
        await pass_time(1.0)
        cluster.token = cluster.coordinator.token
        self.node.give_token((await cluster.surely("POST", "/api/nodes/join-tokens", {}))["token"])
        self.node.start()
        await self._until_state("online")
        await self._deploy()
        await self._until_runs()
        await self._move_door()

    async def _deploy(self) -> None:
        """Want the next version of the rule on the board."""
        data = self.board.lab.compile(SOURCE.format(version=self.version), f"{RULE}.eye", SECRETS["good"])
        self.version += 1
        self.program_id = decode(data).program_id
        await self.cluster.surely("POST", "/api/programs", data=data)
        body = {"programId": self.program_id, "nodeIds": [BOARD], "strategy": "immediate", "deadlineS": 30 * 86_400}
        await self.cluster.surely("POST", f"/api/rules/{RULE}/deploy", body)

    async def _move_door(self) -> None:
        """Open or close the door: the rule acts, and that is one record."""
        is_open = len(self.made.times_us) % 2 == 0
        self.chip.set_pin(self.board.door, is_open)
        self.made.times_us.append(self.node.clock.now_us())
        await self._until(lambda: self.chip.pin(self.board.lab.relay) is is_open, "the rule decides on the door")

    async def _be_away(self, away: Away) -> None:
        self.line.cut()
        cut_s = self.cluster.loop.time()
        before = len(self.made.times_us)
        for number in range(away.changes):
            await pass_time(
                max(0.0, cut_s + away.hours * 3600 * (number + 0.5) / away.changes - self.cluster.loop.time())
            )
            await self._move_door()
            if number == away.changes // 2:
                await self._halfway(away)
        await pass_time(max(0.0, cut_s + away.hours * 3600 - self.cluster.loop.time()))
        promise(not self.chip.pin(self.board.heater), "the output that shall be safe on a lost link is not")
        self.made.lost += range(before, before + max(0, away.changes - self.board.room))
        if self.kills:
            self.node.crash(power_cut=self.rng.random() < 0.5, down_s=DOWN_S, steps=self.rng.randint(*KILL_STEPS))
        self.line.mend()
        await self._break_often()
        await self._until_state("online")
        await self._until_runs()
        if away.brings:  # a new program begins with safe outputs
            await self._move_door()
        await self._until(lambda: self.chip.pin(self.board.heater), "the heater is what the rule says again")

    async def _halfway(self, away: Away) -> None:
        await self._until_state("linkLost")
        promise(not self.chip.pin(self.board.heater), "the output that shall be safe on a lost link is not")
        if away.brings:
            await self._deploy()
        if self.kills:
            self.node.crash(power_cut=False, down_s=DOWN_S)

    async def _break_often(self) -> None:
        """Let the line break at random bytes before it stays."""
        for _ in range(BREAKS):
            breaks, self.line.bytes_left = self.line.breaks, self.rng.randint(*BREAK_BYTES)
            await self._until(lambda breaks=breaks: self.line.breaks > breaks, "the line breaks")  # type: ignore[misc]

    async def _stop_all(self) -> None:
        for host in (self.node, self.cluster.coordinator):
            host.stop()
            await self._until(lambda host=host: not host.runs, "it stops")  # type: ignore[misc]

    # --- what is waited for

    async def _until(self, holds: Any, what: str) -> None:
        until_s = self.cluster.loop.time() + WITHIN_S
        while not holds():
            promise(self.cluster.loop.time() < until_s, f"waited in vain: {what}")
            await pass_time(LOOK_S)

    async def _board(self) -> dict[str, Any]:
        """Return what the coordinator says of the board; nothing before it has joined."""
        _, answer = await self.cluster.call("GET", f"/api/nodes/{BOARD}")
        return (answer or {}).get("board") or {}

    async def _until_state(self, state: str) -> dict[str, Any]:
        until_s = self.cluster.loop.time() + WITHIN_S
        while (board := await self._board()).get("state") != state:
            promise(self.cluster.loop.time() < until_s, f"the board never is {state}: {board}")
            await pass_time(LOOK_S)
        return board

    async def _until_runs(self) -> None:
        until_s = self.cluster.loop.time() + WITHIN_S
        wanted = [(self.program_id, True)]
        while [(one["programId"], one["isRunning"]) for one in (await self._board()).get("programs", [])] != wanted:
            promise(self.cluster.loop.time() < until_s, "the board never runs what it shall")
            await pass_time(LOOK_S)

    async def _until_quiet(self) -> None:
        """Wait until the board has handed over everything."""
        made = len(self.made.times_us) - self.earlier
        await self._until(lambda: (self.line.oldest, self.line.next) == (made, made), "the board forgets its records")

    # --- what is looked at

    def _check_order(self) -> None:
        """Whenever the line was opened, the board said what it runs and has recorded before anything of it was changed."""
        for asked in self.line.openings:
            changes = [place for place, one in enumerate(asked) if one in CHANGES]
            unknown = KNOWN - set(asked[: changes[0]]) if changes else None
            promise(not unknown, f"the board is changed before it has said what it runs: {asked[:20]}")

    async def _check(self) -> None:
        expected, until_s = len(self.made.times_us) - len(self.made.lost), self.cluster.loop.time() + WITHIN_S
        while len(taken(kept := await kept_records(self.cluster, BOARD))) < expected:
            promise(self.cluster.loop.time() < until_s, "the coordinator never has all records")
            await pass_time(LOOK_S)
        report = verify_chain(kept)
        promise(report.holds and report.first_seq == 1, f"the chain does not hold: {report.problem}")
        records = [decode_record(one) for one in kept]
        self._check_order()
        self._check_numbers(taken(kept))
        self._check_gaps(records, report.lost_total)
        self._check_chain(records)

    def _check_numbers(self, found: list[BoardRecordBody]) -> None:
        """Each that fitted is there once, in order, of the time and with the decision of its door."""
        numbers = [one.number for one in found]
        lost = set(self.made.lost)
        promise(numbers == [n for n in range(len(self.made.times_us)) if n not in lost], f"records: {numbers}")
        for one in found:
            ran = read_execution(one.data)
            promise(ran is not None and one.rule == RULE, f"record {one.number} is of no execution: {one}")
            assert ran is not None
            late_us = ran.time_us - self.made.times_us[one.number]
            drift_us = DRIFT * 3600e6 * max(away.hours for away in self.aways)
            promise(-SCAN_S * 1e6 < late_us < 2 * SCAN_S * 1e6 + drift_us, f"record {one.number} is {late_us} us late")
            promise(ran.levels & LEVEL_OF_RELAY == 1 - one.number % 2, f"record {one.number} is of another decision")

    def _check_gaps(self, records: list[Record], lost_total: int) -> None:
        """What did not fit the board itself has counted, and so does a gap at each place."""
        expected = [len(list(run)) for run in _runs(self.made.lost)]
        gaps = [one.body for one in records if isinstance(one.body, GapBody)]
        told = [(gap.count, gap.reason) for gap in gaps]
        promise(told == [(count, str(BoardLoss.FULL)) for count in expected], f"gaps: {told}, and not {expected}")
        promise(lost_total == len(self.made.lost), f"{lost_total} records count as lost")
        promise(self.line.lost == len(self.made.lost), f"the board counted {self.line.lost} lost records")

    def _check_chain(self, records: list[Record]) -> None:
        """The hashes are the board's own from its start on, and behind a gap it says where it goes on."""
        chain, installed = b"", list[bytes]()
        for record in records:
            body = record.body
            if isinstance(body, BoardChainBody):
                promise(body.number == 0 or body.reason == "missing", f"the chain begins anew: {body}")
                promise(body.number > 0 or body.chain == first_chain(body.device, body.boot), "another beginning")
                chain = body.chain
            elif isinstance(body, BoardRecordBody):
                chain = next_chain(chain, body.number, body.data)
                promise(body.chain in (None, chain), f"record {body.number} has another hash than the board's")
                promise(body.program == installed[-1], f"record {body.number} is of the program before, and comes late")
            elif isinstance(body, InstallBody):
                installed.append(body.program)
        promise(len(installed) == self.version, f"{len(installed)} programs were installed, of {self.version}")


def taken(kept: list[bytes]) -> list[BoardRecordBody]:
    """Return the board's own records among those of its audit."""
    return [body for one in kept if isinstance(body := decode_record(one).body, BoardRecordBody)]


def _runs(numbers: list[int]) -> list[list[int]]:
    """Return runs of numbers that follow each other."""
    found: list[list[int]] = [numbers[:1]] if numbers else []
    for before, after in pairwise(numbers):
        if after == before + 1:
            found[-1].append(after)
        else:
            found.append([after])
    return found
