"""The rare things that a campaign of registers is expected to meet; see `simulation.rare`."""

from __future__ import annotations

from raycons.simulation.caspaxos.scenario import LEFT_OUT
from raycons.simulation.partitions import SHAPES
from raycons.simulation.scenario import FAULTS

LISTED: tuple[str, ...] = (
    *(f"fault {kind}" for kind in FAULTS if kind not in LEFT_OUT),
    *(f"fault partition {shape}" for shape in SHAPES),
    "short rounds",
    "quick reads",
    "refused rounds",
    "collected",
    "collections given up",
    "erased",
    "configuration",
    "sent Elsewhere",
    "sent Inherit",
    "sent Outdated",
    "order Add done",
    "order Remove done",
    "order disks lost",
    "order records rotten",
    "impostor copy",
    "impostor stranger",
    "peer-refused",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "result Overloaded",
    "result OutcomeUnknown",
    "result SessionExpired",
    "result Unavailable",
)
