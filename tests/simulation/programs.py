"""The programs that the simulated cluster deploys, compiled once for each process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from eyeflow.compiler.compile import compile_rule
from eyeflow.svm.container import decode, encode
from eyeflow.svm.signing import public_key_of, sign_program

SECRETS = {"good": bytes(range(32)), "second": bytes(range(1, 33))}
SIGNERS = {name: (secret, public_key_of(secret)) for name, secret in SECRETS.items()}
"""Secret and public key of each signer; both are trusted, and `second` is revoked now and then."""
RULES = ("pump", "relay")
VERSIONS = range(1, 5)

GOOD = """rule {rule} {{
    version "1.0.{version}"
    pin VALVE: output
    record Reading {{ id: int }}
    param limit: int = 5
    state n: int = 0
    on mqtt "plant/{rule}" as r: Reading
    n = n + 1
    mqtt.publish("out", "{{r.id}}")
    if n % 2 == 1 {{ gpio.set_pin(VALVE, HIGH) }} else {{ gpio.set_pin(VALVE, LOW) }}
}}
"""


FIRST_BAD = len(VERSIONS)
BAD = {name: FIRST_BAD + place for place, name in enumerate(("traps", "fails", "kills", "late", "spoils"))}
"""What is wrong with a program, and its number among those of its rule.

It traps; its messages fail; the first message ends its node, and again at each start; it has a timer, and asks in each of
its executions a model that needs longer than a period; it spoils the state that it took over, and traps because of that.
"""
PERIOD_S = 0.5
"""Of the timer of the program that is late."""
WRONG = {
    "traps": {"n = n + 1": "n = n + r.id / (limit - limit)"},
    "fails": {'publish("out"': 'publish("fails"'},
    "kills": {'publish("out"': 'publish("kills"'},
    "late": {
        "    record": "    enum Mood { CALM, WILD }\n    record",
        "    on mqtt": f'    on every {PERIOD_S * 1000:.0f}ms {{ let mood = llm.classify("", Mood, "how it is") timeout 60s }}\n    on mqtt',
    },
    "spoils": {
        "    state n": "    state m: int = 0\n    state n",
        "n = n + 1": "n = n + 2\n    m = m + 1\n    if m > 2 { n = n / (limit - limit) }",
    },
}
"""What stands in a bad program instead."""
ACTS = frozenset({"kills", "fails"})
"""What these do wrong happens outside only: a shadow, which acts on nothing, cannot show it."""


FATAL = frozenset({"kills"})


@dataclass(frozen=True)
class Built:
    """One signed program. `refused`: not every node grants what it needs."""

    rule: str
    id: str
    data: bytes
    signer: str
    refused: bool


def topic_of(rule: str) -> str:
    return f"plant/{rule}"


@cache
def programs() -> tuple[Built, ...]:
    """Return the programs of all rules: of each one that nodes refuse and one of the second signer."""
    made = []
    for rule in RULES:
        for version in VERSIONS:
            source = GOOD.format(rule=rule, version=version)
            refused = version == 3
            if refused:
                source = source.replace("n = n + 1", 'n = n + 1\n    log.info("not granted everywhere")')
            made.append(_build(rule, source, "second" if version == 4 else "good", refused))
        for number, what in enumerate(BAD, len(VERSIONS) + 1):
            source = GOOD.format(rule=rule, version=number)
            for right, wrong in WRONG[what].items():
                source = source.replace(right, wrong)
            made.append(_build(rule, source, "good", refused=False))
    return tuple(made)


@cache
def bad_programs() -> dict[str, str]:
    """Return what is wrong with each bad program, by its id."""
    numbers = {number: what for what, number in BAD.items()}
    each = [[one for one in programs() if one.rule == rule] for rule in RULES]
    return {made[number].id: what for made in each for number, what in numbers.items()}


def _build(rule: str, source: str, signer: str, refused: bool) -> Built:
    result = compile_rule(source, name=f"{rule}.eye")
    assert result.program is not None, result.diagnostics
    data = sign_program(encode(result.program), SIGNERS[signer][0])
    return Built(rule, decode(data).program_id, data, signer, refused)
