"""`raycons.aio` offers the same as `raycons`: neither face gains a parameter without the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import raycons
import raycons.aio
from raycons.client.blocking import Kv, Txn
from raycons.client.kv import AsyncKv, AsyncTxn
from raycons.cluster.blocking import Cluster
from raycons.cluster.handle import AsyncCluster
from raycons.decree.blocking import Acceptor, Learner, Proposer, Synod
from raycons.decree.handle import AsyncAcceptor, AsyncLearner, AsyncProposer, AsyncSynod

# What other modules of the package use of the asyncio handle; no user has a need for it.
INTERNAL = {"open", "check_open", "cluster_stopped"}


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Its parameters, and what it gives where the blocking face has it."""
    found = inspect.signature(function)
    return found.replace(return_annotation=str(found.return_annotation).replace("Async", ""))


def public(face: type | ModuleType) -> dict[str, Any]:
    """Signatures of methods and functions; properties by what they give."""
    named = {
        name: inspect.getattr_static(face, name) for name in dir(face) if not name.startswith("_")
    }
    return {
        name: signature(each.fget if isinstance(each, property) else getattr(face, name))
        for name, each in named.items()
        if isinstance(each, property | classmethod) or inspect.isfunction(each)
    }


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [
        (Cluster, AsyncCluster),
        (Kv, AsyncKv),
        (Txn, AsyncTxn),
        (Synod, AsyncSynod),
        (Acceptor, AsyncAcceptor),
        (Proposer, AsyncProposer),
        (Learner, AsyncLearner),
    ],
)
def test_handles_have_the_same_methods(blocking: type, asynchronous: type) -> None:
    ours, theirs = public(blocking), public(asynchronous)
    assert {"status", "get", "commit", "chart", "crash"} & ours.keys()
    if asynchronous in (AsyncCluster, AsyncSynod):
        assert theirs.keys() & INTERNAL
        theirs = {name: each for name, each in theirs.items() if name not in INTERNAL}
    assert ours == theirs
    assert all(getattr(blocking, name).__doc__ for name in ours)


@pytest.mark.parametrize("name", ["start", "connect", "stop", "synod"])
def test_functions_have_the_same_parameters(name: str) -> None:
    blocking, asynchronous = getattr(raycons, name), getattr(raycons.aio, name)
    assert inspect.iscoroutinefunction(asynchronous)
    assert signature(blocking) == signature(asynchronous)


def test_no_function_is_left_out() -> None:
    named = {"start", "connect", "stop", "synod"}
    assert set(raycons.aio.__all__) == {"AsyncCluster", "AsyncSynod", *named}
    assert {"Cluster", "Synod", *named} <= set(raycons.__all__)
    functions = {name for name in raycons.__all__ if inspect.isfunction(getattr(raycons, name))}
    assert functions == named
