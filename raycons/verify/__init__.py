"""Operation histories, and whether they are linearizable.

    from raycons.verify import Recorder, check, read_history

    with Recorder("history.jsonl") as recorder:
        kv = recorder.wrap(cluster.kv())
        ...                                   # use it from any thread or task
    assert check(read_history("history.jsonl")).answer == "linearizable"

`raycons.verify.models` has the machines that a history can be judged by.
"""

from __future__ import annotations

from raycons.verify.checker import Verdict, check
from raycons.verify.history import Operation, encoded, read_history
from raycons.verify.models import IMPOSSIBLE, Model
from raycons.verify.recorder import Recorder
from raycons.verify.violation import Violation

__all__ = [
    "IMPOSSIBLE",
    "Model",
    "Operation",
    "Recorder",
    "Verdict",
    "Violation",
    "check",
    "encoded",
    "read_history",
]
