"""A group as a client meets it: the real session table and machine, without replicas."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from raycons.machines.contract import Command
from raycons.machines.kv import KeyValueMachine, KeyValueSettings, commands
from raycons.machines.sessions import Expire, Sessions
from raycons.member.protocol import Answer, Read, Submit
from tests.machines.dict_state import DictState

encode = msgspec.msgpack.encode


class Group:
    """What the members agree on; which message comes to it, and when, is for the test to say."""

    def __init__(self) -> None:
        state = DictState()
        # Room for one pair: several reads in one message need several answers.
        self.machine = KeyValueMachine(state, KeyValueSettings(max_queries_bytes=0))
        self.sessions = Sessions(self.machine, state)
        self._index = 0
        self._time_us = 0

    def carry_out(self, message: Submit | Read) -> Answer:
        """Commit the command, or answer the question; gives the answer."""
        if isinstance(message, Read):
            return Answer(message.request, self.sessions.query(message.payload), 0.0)
        return Answer(message.request, self._apply(self.sessions.apply, message.payload))

    def expire_sessions(self) -> None:
        """So much replicated time passes that every session ends."""
        self._time_us += 10**12
        self._apply(self.sessions.apply, encode(Expire(0)))

    def put(self, key: bytes, value: bytes) -> None:
        """Another client's write."""
        self._apply(self.machine.apply, encode((commands.Put(key, value),)))

    def find(self, key: bytes) -> commands.KeyValue | None:
        """What `key` holds; its version counts how often it was put."""
        body = self.machine.query(encode((commands.Range(key),)))
        [result] = msgspec.msgpack.decode(body, type=commands.Results)
        assert isinstance(result, commands.RangeDone)
        return result.pairs[0] if result.pairs else None

    def _apply(self, apply: Callable[[Command], bytes], data: bytes) -> bytes:
        self._index += 1
        self._time_us += 1000
        return apply(Command(self._index, 1, self._time_us, 1, data))
