"""Ray's own fault injection, on the calls that members and clients make by Ray actors."""

from __future__ import annotations

import json

CALL = "CoreWorkerService.grpc_client.PushTask"  # what an actor call travels as
WAYS = ("req_failure_prob", "resp_failure_prob", "in_flight_failure_prob")


def failing_calls(percent: int) -> dict[str, str]:
    """The environment in which a Ray, started with it, lets actor calls fail.

    Each of three ways takes so many percent: the call is not sent; its answer is lost; it is sent,
    and reported as failed at once. The last is the one that a retry meets under way.

    >>> failing_calls(0)
    {}
    """
    if not percent:
        return {}
    failures = {"num_failures": -1, **dict.fromkeys(WAYS, percent)}
    return {
        "RAY_testing_rpc_failure": json.dumps({CALL: failures}),
        "RAY_testing_rpc_failure_avoid_intra_node_failures": "0",
    }
