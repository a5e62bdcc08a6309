"""A thread for a question whose answer may be minutes away."""

from __future__ import annotations

import asyncio
import threading

import pytest

from eyeflow.base.threads import in_thread


def test_a_question_in_a_thread_of_its_own_gives_its_answer_or_its_error() -> None:
    async def scenario() -> None:
        thread = await in_thread(threading.current_thread)
        assert thread is not threading.current_thread()
        assert thread.daemon and thread.name == "eyeflow-beside", "its end may be minutes away"
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)

    asyncio.run(scenario())
