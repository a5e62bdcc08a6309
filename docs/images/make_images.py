"""Writes the pictures of the documentation again: python docs/images/make_images.py

Each stands on its own light panel, so that it reads the same on a light and on a dark page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
INK, SOFT, LINE, PANEL = "#1e293b", "#64748b", "#94a3b8", "#f8fafc"
BLUE, GREEN, AMBER, RED, VIOLET = "#2563eb", "#15803d", "#b45309", "#b91c1c", "#7c3aed"
FILLS = {BLUE: "#dbeafe", GREEN: "#dcfce7", AMBER: "#fef3c7", RED: "#fee2e2", VIOLET: "#ede9fe", SOFT: "#e2e8f0"}


def svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    """Return a whole picture of width x height pixels."""
    marker = (
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{SOFT}"/></marker></defs>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    style = 'font-family="ui-sans-serif, system-ui, Segoe UI, Helvetica, Arial, sans-serif" role="img"'
    panel = f'<rect width="{width}" height="{height}" rx="12" fill="{PANEL}"/>'
    return "\n".join([f"{head} {style}>", f"<title>{title}</title>", marker, panel, *body, "</svg>", ""])


def text(
    x: float, y: float, words: str, *, size: int = 13, color: str = INK, anchor: str = "middle", bold: bool = False
) -> str:
    """Return one line of text."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="{anchor}"{weight}>{words}</text>'


def box(x: float, y: float, width: float, height: float, color: str, title: str, *lines: str) -> str:
    """Return a rounded box with a bold title and small lines below it."""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="8"'
    rect = f'<rect {place} fill="{FILLS[color]}" stroke="{color}" stroke-width="1.5"/>'
    middle = x + width / 2
    parts = [rect, text(middle, y + 22, title, bold=True)]
    parts += [text(middle, y + 40 + 16 * index, line, size=11, color="#334155") for index, line in enumerate(lines)]
    return "\n".join(parts)


def arrow(
    points: Sequence[tuple[float, float]],
    label: str = "",
    *,
    at: tuple[float, float] | None = None,
    dashed: bool = False,
) -> str:
    """Return a line with a tip through `points`, and its label."""
    path = " L".join(f"{x} {y}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    line = f'<path d="M{path}" fill="none" stroke="{SOFT}" stroke-width="1.6" marker-end="url(#tip)"{dash}/>'
    return line + ("\n" + text(*at, label, size=11, color=SOFT) if at else "")


def overview() -> str:
    """The life of a rule: written, proven and signed, deployed, run beside the machine."""
    body = [
        box(
            24,
            40,
            170,
            118,
            BLUE,
            "rule.eye",
            "trigger, state, decision,",
            "actions, tests",
            "eyeflow check · fmt",
            "eyeflow test · run",
        ),
        box(
            254,
            40,
            170,
            118,
            VIOLET,
            "rule.svm",
            "bytecode, proven limits,",
            "capabilities used",
            "signed: Ed25519",
            "id = SHA-256",
        ),
        box(
            484,
            40,
            170,
            118,
            SOFT,
            "coordinator",
            "REST · WebSocket",
            "who runs what",
            "health of each node",
            "may be away for weeks",
        ),
        arrow([(194, 99), (250, 99)], "compile", at=(222, 90)),
        arrow([(424, 99), (480, 99)], "deploy", at=(452, 90)),
        arrow([(569, 158), (569, 206), (339, 206), (339, 232)], "wanted programs", at=(470, 199), dashed=True),
        arrow([(380, 232), (380, 218), (610, 218), (610, 162)], "status, health", at=(520, 232), dashed=True),
        f'<rect x="184" y="236" width="310" height="190" rx="10" fill="#fff" stroke="{GREEN}" stroke-width="1.5"/>',
        text(339, 258, "node: a server, a Raspberry Pi", bold=True),
        box(200, 272, 84, 138, GREEN, "verify", "form", "signature", "proof", "order", "grants"),
        box(297, 272, 84, 138, GREEN, "SVM", "same bits", "on every", "machine"),
        box(394, 272, 84, 138, AMBER, "commit", "state", "audit chain", "before", "anything", "is visible"),
        arrow([(284, 341), (295, 341)]),
        arrow([(381, 341), (392, 341)]),
        box(24, 272, 110, 138, BLUE, "events", "MQTT", "webhook", "GPIO edge", "timer, cron", "host, serial"),
        box(544, 272, 110, 138, RED, "actions", "GPIO", "MQTT", "HTTP", "file, log", "LLM (asked)"),
        arrow([(134, 341), (180, 341)]),
        arrow([(494, 341), (540, 341)]),
        text(
            339,
            452,
            "The node needs nobody to keep running: it starts from its own disk, with no network at all.",
            size=12,
            color=SOFT,
        ),
    ]
    return svg(
        678, 472, "A rule is compiled and signed, deployed by the coordinator, and run by nodes on their own", body
    )


def commit() -> str:
    """Event, execution, commit, then acknowledgement and action."""
    steps = (
        (30, BLUE, "event", "MQTT, timer, ..."),
        (190, GREEN, "execution", "reads, decides"),
        (350, AMBER, "commit", "record + state"),
    )
    body = [box(x, 60, 120, 62, color, title, line) for x, color, title, line in steps]
    body += [
        box(530, 30, 120, 50, SOFT, "ack", "to the sender"),
        box(530, 102, 120, 50, RED, "action", "by the driver"),
    ]
    body += [arrow([(150, 91), (186, 91)]), arrow([(310, 91), (346, 91)])]
    body += [arrow([(470, 84), (500, 84), (500, 55), (526, 55)]), arrow([(470, 98), (500, 98), (500, 127), (526, 127)])]
    body += [
        f'<line x1="488" y1="16" x2="488" y2="176" stroke="{AMBER}" stroke-width="1.5" stroke-dasharray="4 4"/>',
        text(478, 172, "nothing has happened yet", size=11, color=SOFT, anchor="end"),
        text(498, 172, "it happened, and the disk knows it", size=11, color=SOFT, anchor="start"),
    ]
    return svg(700, 190, "An event is decided and committed; only then it is acknowledged and acted upon", body)


STEP_PX, LEFT_PX = 30, 170
SIGNAL = (70, 74, 78, 83, 84, 79, 77, 82, 84, 86, 87, 88, 85, 81, 79, 76, 74, 72)
"""One sample a second; the limit is 80, the band 5."""
LIMIT, BAND, HOLD_S, COOLDOWN_S = 80, 5, 3, 4


def evaluations() -> list[tuple[str, list[bool]]]:
    """Return the rows of the diagram, by the definitions of docs/svm.md."""
    above = [x > LIMIT for x in SIGNAL]
    rows = []
    on, since, before, last = False, None, False, None
    for t, (x, c) in enumerate(zip(SIGNAL, above, strict=True)):
        on = x > (LIMIT - BAND if on else LIMIT)
        since = (since if since is not None else t) if c else None
        hold = since is not None and t - since >= HOLD_S
        fires = hold and (last is None or t - last >= COOLDOWN_S)
        last = t if fires else last
        rows.append((c, c and not before, on, hold, fires))
        before = c
    names = (
        "x &gt; 80",
        "x &gt; 80 rises",
        "x &gt; 80 hysteresis 5",
        f"x &gt; 80 for {HOLD_S}s",
        f"... cooldown {COOLDOWN_S}s",
    )
    return [(name, list(row)) for name, row in zip(names, zip(*rows, strict=True), strict=True)]


def lane(y: float, name: str, values: Sequence[bool], color: str) -> str:
    """Return one row: a cell for each evaluation, filled where the word is true."""
    parts = [text(LEFT_PX - 12, y + 14, name, size=12, anchor="end")]
    for index, value in enumerate(values):
        fill = color if value else "#e2e8f0"
        parts.append(
            f'<rect x="{LEFT_PX + index * STEP_PX}" y="{y}" width="{STEP_PX - 3}" height="18" rx="3" fill="{fill}"/>'
        )
    return "\n".join(parts)


def time_words() -> str:
    """The same signal under five time words, one cell for each evaluation."""
    height = 110

    def x_of(index: int) -> float:
        return LEFT_PX + index * STEP_PX + (STEP_PX - 3) / 2

    def y_of(value: float) -> float:
        return 20 + height - (value - 68) / 22 * height

    points = " ".join(f"{x_of(i)},{y_of(v):.1f}" for i, v in enumerate(SIGNAL))
    right = LEFT_PX + len(SIGNAL) * STEP_PX
    body = [f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="2"/>']
    body += [f'<circle cx="{x_of(i)}" cy="{y_of(v):.1f}" r="3" fill="{INK}"/>' for i, v in enumerate(SIGNAL)]
    for value, name in ((LIMIT, "limit 80"), (LIMIT - BAND, "80 - band 5")):
        y = y_of(value)
        body.append(f'<line x1="{LEFT_PX}" y1="{y}" x2="{right}" y2="{y}" stroke="{AMBER}" stroke-dasharray="5 4"/>')
        body.append(text(LEFT_PX - 12, y + 4, name, size=12, color=AMBER, anchor="end"))
    colors = (SOFT, BLUE, VIOLET, GREEN, RED)
    body += [lane(150 + 28 * i, name, row, colors[i]) for i, (name, row) in enumerate(evaluations())]
    body += [text(x_of(i), 304, f"{i}s", size=11, color=SOFT) for i in range(0, len(SIGNAL), 2)]
    return svg(right + 20, 318, "One signal under rises, hysteresis, for and cooldown", body)


def node() -> str:
    """The way of an event through a node: queues, a round, one commit, then acknowledgement and actions."""
    body = [
        box(
            20,
            56,
            130,
            118,
            BLUE,
            "sources",
            "mqtt · http · gpio",
            "host · serial",
            "deliver(event)",
            "waits when full",
        ),
        box(
            200, 56, 130, 118, SOFT, "intake", "fits the schema?", "one queue a rule,", "1024 events;", "else: rejected"
        ),
        box(380, 56, 130, 118, GREEN, "round", "256 events", "5 levels, 8 each", "Instance.step", "nothing leaves yet"),
        box(
            560,
            56,
            150,
            118,
            AMBER,
            "commit",
            "one transaction:",
            "records, state,",
            "pending actions",
            "synchronous=FULL",
        ),
        box(760, 20, 130, 58, SOFT, "done", "ack, 202"),
        box(760, 92, 130, 58, SOFT, "bus", "emitted events"),
        box(760, 164, 130, 86, RED, "actions", "a lane for each rule", "retries, leases", "drivers"),
        box(200, 204, 130, 46, SOFT, "scheduler", "every, cron"),
    ]
    body += [arrow([(150, 115), (196, 115)]), arrow([(330, 115), (376, 115)]), arrow([(510, 115), (556, 115)])]
    body += [arrow([(265, 204), (265, 178)])]
    body += [arrow([(710, 115), (735, 115), (735, 49), (756, 49)]), arrow([(735, 115), (735, 121), (756, 121)])]
    body += [arrow([(735, 115), (735, 207), (756, 207)])]
    body += [
        arrow([(756, 236), (635, 236), (635, 178)], "ended: forgotten with the next batch", at=(600, 256), dashed=True),
        arrow(
            [(890, 121), (905, 121), (905, 10), (265, 10), (265, 52)],
            "to the rules that listen",
            at=(440, 26),
            dashed=True,
        ),
        text(20, 282, "One event loop; the store has a thread of its own.", size=12, color=SOFT, anchor="start"),
    ]
    return svg(920, 300, "Events wait in queues, run in rounds, and act after the commit", body)


def wire(points: Sequence[tuple[float, float]], color: str) -> str:
    """Return a wire through `points` with round ends."""
    path = " L".join(f"{x} {y}" for x, y in points)
    ends = "".join(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}"/>' for x, y in (points[0], points[-1]))
    return f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2.2" stroke-linejoin="round"/>{ends}'


def pins(x: float, first_y: float, names: Sequence[str], anchor: str) -> list[str]:
    """Return the names of a row of pins, 26 apart, beside its pads."""
    inside = 9 if anchor == "start" else -9
    parts = []
    for place, name in enumerate(names):
        y = first_y + 26 * place
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="#fff" stroke="{INK}" stroke-width="1.3"/>')
        parts.append(text(x + inside, y + 4, name, size=11, anchor=anchor, bold=True))
    return parts


def wiring() -> str:
    """The board of the tutorial: what is connected to which pin of a "black pill"."""
    left, right, top = 330, 530, 70
    body = [
        f'<rect x="{left - 14}" y="36" width="{right - left + 28}" height="330" rx="10" fill="#fff" '
        f'stroke="{INK}" stroke-width="1.6"/>',
        text(430, 30, "black pill, STM32F401CC", bold=True),
        f'<rect x="392" y="150" width="76" height="76" rx="4" fill="{FILLS[SOFT]}" stroke="{SOFT}"/>',
        text(430, 192, "STM32", size=12, color=SOFT),
        f'<circle cx="430" cy="270" r="7" fill="{FILLS[AMBER]}" stroke="{AMBER}" stroke-width="1.5"/>',
        text(430, 292, "LED: PC13", size=11, color="#334155"),
        text(430, 306, "lit when low", size=11, color=SOFT),
        *pins(left, top, ("3V3", "PA0", "GND", "PB0", "GND", "PA5", "5V", "GND"), "start"),
        *pins(right, top, ("PA9", "PA10", "GND"), "end"),
        *pins(right, top + 104, ("3V3", "SWDIO", "SWCLK", "GND"), "end"),
        box(24, 40, 170, 86, BLUE, "thermometer, TMP36", "supply · output · ground", "10 mV/K, 500 mV at 0 C"),
        box(24, 146, 170, 70, GREEN, "door contact", "closed: PB0 to ground", "open: pulled up inside"),
        box(24, 236, 170, 86, RED, "relay module", "switched by 3.3 V, high on", "no bare coil at the pin"),
        box(664, 40, 172, 86, VIOLET, "USB serial adapter", "3.3 V levels, 115200 baud", "RX to PA9, TX to PA10"),
        box(664, 156, 172, 104, AMBER, "debug probe", "ST-Link, J-Link,", "CMSIS-DAP", "for eyeflow mcu flash"),
        wire([(194, 70), (left, top)], RED),
        wire([(194, 90), (250, 90), (250, 96), (left, 96)], BLUE),
        wire([(194, 112), (236, 112), (236, 122), (left, 122)], INK),
        wire([(194, 170), (222, 170), (222, 148), (left, 148)], GREEN),
        wire([(194, 194), (250, 194), (250, 174), (left, 174)], INK),
        wire([(194, 258), (222, 258), (222, 200), (left, 200)], AMBER),
        wire([(194, 280), (240, 280), (240, 226), (left, 226)], RED),
        wire([(194, 304), (258, 304), (258, 252), (left, 252)], INK),
        wire([(664, 70), (right, 70)], VIOLET),
        wire([(664, 92), (600, 92), (600, 96), (right, 96)], VIOLET),
        wire([(664, 114), (612, 114), (612, 122), (right, 122)], INK),
        wire([(664, 174), (right, 174)], RED),
        wire([(664, 196), (600, 196), (600, 200), (right, 200)], AMBER),
        wire([(664, 220), (612, 220), (612, 226), (right, 226)], AMBER),
        wire([(664, 246), (624, 246), (624, 252), (right, 252)], INK),
        text(
            430, 396, "The adapter is the line to the gateway: eyeflow mcu push, status, log. The probe is needed once,"
        ),
        text(
            430,
            414,
            "and again for new firmware. Power comes by USB. Find the pins by their names: their order is another.",
        ),
    ]
    return svg(860, 434, "A black pill with thermometer, door contact, relay, serial adapter and debug probe", body)


MEASURED = re.compile(r"^\| (sqlite|kafka_embedded|kafka), (each) acts \| (\d+) \| ([\d,]+) \|", re.M)
"""A row of the table in docs/performance.md: backend, which events act, producers, executions a second."""
PIXELS_FOR_ONE, BAR_WANTED = 0.012, 10_000


def executions() -> str:
    """Durable executions a second with each backend, as docs/performance.md has them, beside what is wanted."""
    page = (HERE.parent / "performance.md").read_text(encoding="utf-8")
    rows = MEASURED.findall(page[page.index("## Copies to Kafka") :])
    colors = {"sqlite": BLUE, "kafka_embedded": VIOLET, "kafka": AMBER}
    left, top, step = 250, 52, 24
    wanted = left + BAR_WANTED * PIXELS_FOR_ONE
    height = top + step * len(rows) + 14
    body = [text(left - 12, 30, "durable executions a second", size=14, anchor="end", bold=True)]
    body.append(text(wanted, 30, f"wanted of 16 producers: {BAR_WANTED:,}", size=11, color=SOFT))
    for index, (backend, acting, producers, rate) in enumerate(rows):
        y, width = top + step * index, int(rate.replace(",", "")) * PIXELS_FOR_ONE
        words = f"{backend}, {acting} acts, {producers} producer{'s' * (producers != '1')}"
        body.append(text(left - 12, y + 13, words, size=11, anchor="end"))
        place = f'x="{left}" y="{y}" width="{width:.0f}" height="17" rx="3"'
        body.append(f'<rect {place} fill="{FILLS[colors[backend]]}" stroke="{colors[backend]}"/>')
        body.append(text(left + width + 8, y + 13, rate, size=11, anchor="start"))
    line = f'<path d="M{wanted:.0f} {top - 14} V{height - 10}" stroke="{RED}" stroke-dasharray="4 3"/>'
    return svg(700, height, "Durable executions a second by backend and producers", [*body, line])


PICTURES: dict[str, Callable[[], str]] = {
    "overview.svg": overview,
    "commit.svg": commit,
    "time-words.svg": time_words,
    "node.svg": node,
    "wiring.svg": wiring,
    "executions.svg": executions,
}


def main() -> None:
    """Write every picture beside this script."""
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
