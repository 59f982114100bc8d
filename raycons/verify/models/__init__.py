"""Machines that a history can be judged by."""

from __future__ import annotations

from raycons.verify.models.contract import IMPOSSIBLE, Model
from raycons.verify.models.kv import KeyValue
from raycons.verify.models.objects import Counter, Lock, Queue

BUILT_IN: dict[str, type[Model]] = {
    "kv": KeyValue,
    "queue": Queue,
    "lock": Lock,
    "counter": Counter,
}

__all__ = ["BUILT_IN", "IMPOSSIBLE", "Counter", "KeyValue", "Lock", "Model", "Queue"]
