"""A network that breaks while a filter is asked for looks like a broker that refuses it: nothing may be lost by that."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.subscriber import STRIKES_MAX, Message, Subscriber


class Connection:
    """What a subscriber asks of its connection."""

    is_up, is_paused = True, False

    def __init__(self) -> None:
        self.limits = SimpleNamespace(identifiers=True, filter_problem=lambda f: "", lacks=lambda s: [])
        self.asked: list[str] = []
        self.given_up: list[str] = []

    def subscribe(self, topic_filter: str, identifier: int, *, retained: bool) -> int:
        self.asked.append(topic_filter)
        return len(self.asked)

    def unsubscribe(self, topic_filter: str) -> None:
        self.given_up.append(topic_filter)


def test_a_filter_that_broke_connections_stays_in_the_session_and_is_asked_for_again() -> None:
    async def test() -> None:
        came: list[Message] = []
        subscriber, connection = Subscriber(MqttConfig("host"), "id"), Connection()
        vars(subscriber)["_connection"] = connection
        subscriber.subscribe({"a": frozenset()}, came.append)
        for _ in range(1 + STRIKES_MAX):  # the first time others could be the reason, for all it knows
            subscriber.up()
            subscriber.down("broke")
        asked = len(connection.asked)
        subscriber.up()
        assert len(connection.asked) == asked, "it is left out for a while"
        assert connection.given_up == [], "the broker keeps what comes meanwhile"
        subscriber.message(message("a"))
        assert came[0].routes == {"a": None}, "what the session still brings is no stranger's"
        subscriber._struck_until_s["a"] = 0.0
        subscriber.tick()
        assert connection.asked[asked:] == ["a"]
        subscriber.subscribe({}, came.append)
        assert connection.given_up == ["a"], "the control: what no rule wants is given up"

    asyncio.run(test())


def message(topic: str) -> Any:
    return SimpleNamespace(topic=topic, payload=b"{}", properties=None, retain=False, mid=1, qos=1)
