"""Which tests may run at the same time, where several processes run them (`pytest -n 2`)."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Tests that start processes, or live by the clock, come one after the other, in two lanes: those of
# the command line, which make a Ray of their own, and those that share one. What only computes
# fills the gaps.
LANES = {
    "tests/cli": "commands",
    "tests/test_readme.py": "commands",
    **dict.fromkeys(
        (
            "tests/bench",
            "tests/chaos",
            "tests/client",
            "tests/cluster",
            "tests/decree",
            "tests/member",
            "tests/safety",
            "tests/test_protocols.py",
            "tests/transport",
        ),
        "ray",
    ),
}


class Lanes(LoadScopeScheduling):
    """Deals out whole lanes, the largest first, and then the tests that have none."""

    def _split_scope(self, nodeid: str) -> str:
        place = "/".join(nodeid.partition("::")[0].split("/")[:2])
        return LANES.get(place, nodeid)
