"""What a policy says of a program: of its profile, its capabilities and its sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.node_sim import SIGNER, program
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.node.engine.admission import BUS_SOURCE, Policy, Refused, subscription_of
from eyeflow.node.engine.trust import Trust
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.ports import Subscription
from eyeflow.protocol.node_facts import namespace_of
from eyeflow.svm.container import encode
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.program import Profile, Trigger, TriggerKind
from eyeflow.svm.signing import public_key_of, sign_program

TRUSTED = Trust(frozenset({public_key_of(SIGNER)}))
POLICY = Policy(("*",), frozenset({"log", "gpio"}), ports_config())
TICK = 'rule tick {\n version "1.0.0"\n on every 1s\n log.info("x")\n}\n'
OTHERS = 'rule r {\n version "1.0.0"\n on every 1s\n mqtt.publish("a", "b")\n http.post("http://x", "b")\n}\n'
BLINK = 'rule blink {\n version "1.0.0"\n pin P: output\n on every 1s\n gpio.set_pin(P, HIGH)\n}\n'


def refused(policy: Policy, data: bytes) -> EyeflowError:
    with pytest.raises(EyeflowError) as error:
        policy.load(data, TRUSTED)
    assert error.value.exit_code is ExitCode.PROBLEMS and error.value.cause and error.value.next_step
    return error.value


def test_a_program_that_may_run_is_ready_to_be_instantiated() -> None:
    data = sign_program(program(TICK), bytes(range(1, 33)))
    loaded = POLICY.load(data, TRUSTED)
    assert loaded.program.rule == "tick" and loaded.data == data
    assert loaded.program_id == POLICY.load(program(TICK), TRUSTED).program_id
    assert isinstance(loaded.machine, FastMachine), "made here, in the thread that loads, and not on the event loop"
    assert set(loaded.signers) == {public_key_of(SIGNER), public_key_of(bytes(range(1, 33)))}, "trusted or not"


def test_each_capability_is_known_by_the_line_that_calls_it() -> None:
    source = 'rule r {\n version "1.0.0"\n on every 1s\n log.info("x")\n\n log.warn("y")\n}\n'
    loaded = POLICY.load(program(source), TRUSTED)
    lines = {site.capability: loaded.at_line(site) for site in loaded.program.sites}
    assert lines == {"log.info": " at line 4", "log.warn": " at line 6"}


def test_a_program_for_a_microcontroller_does_not_run_on_a_node() -> None:
    made = compile_rule(BLINK, name="blink.eye", options=CompileOptions(Profile.MCU)).program
    assert made is not None
    error = refused(POLICY, sign_program(encode(made), SIGNER))
    assert error.code == "wrong_profile" and "blink" in error.message


def test_what_is_not_granted_is_named_with_the_grants_there_are() -> None:
    error = refused(replace(POLICY, grants=("log.*", "http.get")), program(OTHERS))
    assert isinstance(error, Refused) and error.code == "not_granted"
    assert error.missing == ("http.post", "mqtt.publish") and "log.*" in error.cause
    assert all(name in error.message and name in error.next_step for name in error.missing)


def test_what_has_no_driver_is_named_with_what_would_give_one() -> None:
    error = refused(POLICY, program(OTHERS))
    assert isinstance(error, Refused) and (error.code, error.missing) == ("no_driver", ("http.post", "mqtt.publish"))
    assert all(name in error.message for name in error.missing) and "gpio, log" in error.cause
    assert "[mqtt]" in error.next_step and error.next_step.endswith(". Use another capability."), "one hint for each"


def test_a_capability_that_no_section_gives_needs_another_one() -> None:
    nothing = replace(POLICY, namespaces=frozenset({"gpio"}))
    assert refused(nothing, program(TICK)).next_step == "Use another capability."


def test_a_source_that_the_node_does_not_serve_is_refused_and_its_own_events_are_not() -> None:
    listens = 'rule r {{\n version "1.0.0"\n record R {{ n: int }}\n on {} "t" as r: R\n log.info("x")\n}}\n'
    assert refused(POLICY, program(listens.format("mqtt"))).code == "no_source"
    assert POLICY.load(program(listens.format(BUS_SOURCE)), TRUSTED).program.rule == "r"


def trigger(kind: TriggerKind, **more: Any) -> Trigger:
    made = POLICY.load(program(TICK), TRUSTED).program.triggers[0]
    return replace(made, kind=kind, **more)


def test_only_a_source_is_subscribed_to() -> None:
    source = trigger(TriggerKind.SOURCE, source="host", address="cpu", period_us=500_000)
    assert subscription_of(source) == Subscription("host", "cpu", 500_000)
    assert subscription_of(trigger(TriggerKind.EVERY)) is None
    assert subscription_of(trigger(TriggerKind.CRON)) is None


def test_the_namespace_is_what_stands_before_the_first_dot() -> None:
    assert [namespace_of(one) for one in ("gpio.set_pin", "vendor.bus.read")] == ["gpio", "vendor"]
