from __future__ import annotations

import pytest
from msgspec.structs import replace

from eyeflow.protocol.node_facts import FACTS_EXTENSION, NodeFacts, facts_extension, facts_in, is_granted, namespace_of
from eyeflow.protocol.opening import EXTENSION_BYTES_MAX, OPENING, Extensions, Hello
from eyeflow.protocol.wire import ProtocolError

FACTS = NodeFacts("linux", "", "aarch64", 4 << 30, 2, ("gpio.*",), ("gpio",), ("mqtt",))


def hello(extensions: Extensions) -> Hello:
    return Hello(2, 3, "test", "node", 0, bytes(32), extensions)


def test_what_a_node_tells_arrives() -> None:
    told = OPENING.decode(OPENING.encode(hello(facts_extension(FACTS))))
    assert isinstance(told, Hello)
    assert facts_in(told) == FACTS
    assert facts_in(hello(())) is None, "an older node tells nothing"


def test_what_is_too_long_is_not_told_and_the_rest_is() -> None:
    many = tuple(f"gpio.pin_{number:03}_of_the_pump" for number in range(100))
    assert facts_in(hello(facts_extension(replace(FACTS, grants=many)))) == replace(FACTS, grants=None)
    assert facts_in(hello(facts_extension(replace(FACTS, grants=("g" * 200,))))) == replace(FACTS, grants=None)
    nothing = replace(FACTS, grants=None, drivers=None, sources=None)
    ((_, data),) = facts_extension(replace(FACTS, drivers=many))
    assert facts_in(hello(((FACTS_EXTENSION, data),))) == nothing
    assert len(data) <= EXTENSION_BYTES_MAX


def test_a_malformed_one_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="what a node tells of itself"):
        facts_in(hello(((FACTS_EXTENSION, b"\x80"),)))


def test_grants_are_patterns() -> None:
    assert is_granted("gpio.set_pin", ("adc.*", "gpio.*"))
    assert not is_granted("gpio.set_pin", ("gpio.get*", "GPIO.*"))
    assert namespace_of("gpio.set_pin") == "gpio"
