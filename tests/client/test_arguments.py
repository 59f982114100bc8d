"""Bad arguments are refused before anything is sent, with the thing, the bound and the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from raycons import errors
from raycons.client import codecs
from raycons.client.dialect import after_prefix
from raycons.client.kv import AsyncKv
from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.client.transactions import Condition
from raycons.machines.kv.commands import Compare, Relation, Target

from .cluster import ADDRESSES, Cluster

Ask = Callable[[AsyncKv[Any]], Coroutine[Any, Any, Any]]

BAD: list[tuple[str, Ask, type[Exception], str]] = [
    ("empty key", lambda kv: kv.put("", b""), errors.BadArgument, "key is empty"),
    ("long key", lambda kv: kv.put("k" * 8193, b""), errors.BadArgument, "8193 bytes.*8192"),
    ("key type", lambda kv: kv.get(7), errors.BadArgument, "str or bytes.*int"),  # type: ignore[arg-type]
    ("surrogate", lambda kv: kv.get("\ud800"), errors.BadArgument, "not valid text"),
    (
        "large value",
        lambda kv: kv.put("a", b"x" * (1024 * 1024 + 1)),
        errors.BadArgument,
        "1048577 bytes.*1048576",
    ),
    ("value type", lambda kv: kv.put("a", "text"), errors.BadValueType, 'str.*codec="msgpack"'),
    ("none", lambda kv: kv.put("a", None), errors.BadValueType, "NoneType"),
    (
        "swap type",
        lambda kv: kv.compare_and_swap("a", expect=1, value=b""),
        errors.BadValueType,
        "int",
    ),
    ("both", lambda kv: kv.range(prefix="a", start="b"), errors.BadArgument, "either prefix"),
    ("backwards", lambda kv: kv.range(start="b", end="a"), errors.BadArgument, "swap them"),
    ("empty end", lambda kv: kv.range(start="b", end=""), errors.BadArgument, "leave it out"),
    ("prefix type", lambda kv: kv.range(prefix=1), errors.BadArgument, "prefix.*int"),  # type: ignore[arg-type]
    ("limit", lambda kv: kv.range(limit=-1), errors.BadArgument, "limit is -1"),
    ("limit type", lambda kv: kv.range(limit=1.5), errors.BadArgument, "limit is 1.5"),  # type: ignore[arg-type]
    ("revision", lambda kv: kv.get("a", revision=-1), errors.BadArgument, "revision is -1"),
    ("bool", lambda kv: kv.get("a", revision=True), errors.BadArgument, "revision is True"),
    ("huge", lambda kv: kv.get("a", revision=2**63), errors.BadArgument, "2\\*\\*63"),
    (
        "level",
        lambda kv: kv.get("a", level="eventual"),  # type: ignore[call-overload]
        errors.BadArgument,
        "'linearizable', 'stale'",
    ),
    ("compact", lambda kv: kv.compact(0), errors.BadArgument, "revision is 0"),
    ("all", lambda kv: kv.delete_range(), errors.BadArgument, 'prefix=""'),
    ("timeout", lambda kv: kv.put("a", b"", timeout=0), errors.BadArgument, "timeout is 0"),
    ("nan", lambda kv: kv.get("a", timeout=float("nan")), errors.BadArgument, "timeout is nan"),
    ("endless", lambda kv: kv.get("a", timeout=float("inf")), errors.BadArgument, "timeout is inf"),
    ("text", lambda kv: kv.get("a", timeout="5"), errors.BadArgument, "timeout is '5'"),  # type: ignore[call-overload]
    ("true", lambda kv: kv.get("a", timeout=True), errors.BadArgument, "timeout is True"),
    ("nothing", lambda kv: kv.txn().commit(), errors.BadArgument, "does nothing"),
    (
        "large txn",
        lambda kv: kv.txn().then(*(kv.op.put(f"{n}", b"x" * 10**6) for n in range(5))).commit(),
        errors.BadArgument,
        "4194304.*split",
    ),
]


def with_kv(use: Callable[[AsyncKv[Any], AsyncClient, Cluster], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        cluster = Cluster()
        client = AsyncClient(cluster.transport, ADDRESSES)
        await use(AsyncKv(client), client, cluster)
        await client.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ask", "error", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_argument_sends_nothing(ask: Ask, error: type[Exception], words: str) -> None:
    async def use(kv: AsyncKv[Any], client: AsyncClient, cluster: Cluster) -> None:
        with pytest.raises(error, match=words):
            await ask(kv)
        await asyncio.sleep(0)
        assert cluster.transports[0].sent == []

    with_kv(use)


def test_errors_can_be_caught_as_what_python_calls_them() -> None:
    assert issubclass(errors.BadArgument, ValueError)
    assert issubclass(errors.BadValueType, TypeError)


def test_the_bounds_themselves_are_allowed() -> None:
    async def use(kv: AsyncKv[Any], client: AsyncClient, cluster: Cluster) -> None:
        key, value = "k" * 8192, b"x" * 1024 * 1024
        await kv.put(key, value)
        assert await kv.get(key) == value
        assert await kv.put("mutable", bytearray(b"abc")) == 2
        assert await kv.get("mutable") == b"abc"

    with_kv(use)


def test_bounds_come_from_the_settings() -> None:
    async def main() -> None:
        settings = ClientSettings(max_key_bytes=4, max_value_bytes=4)
        client = AsyncClient(Cluster().transport, ADDRESSES, settings=settings)
        with pytest.raises(errors.BadArgument, match="at most 4"):
            await AsyncKv(client).put("12345", b"")
        with pytest.raises(errors.BadArgument, match="at most 4"):
            await AsyncKv(client).put("1234", b"12345")
        await client.close()

    asyncio.run(main())


def test_conditions_become_compares() -> None:
    async def use(kv: AsyncKv[Any], client: AsyncClient, cluster: Cluster) -> None:
        key = kv.key("a")
        expected = [
            (key.version == 0, Target.VERSION, Relation.EQUAL, 0),
            (key.version != 1, Target.VERSION, Relation.NOT_EQUAL, 1),
            (key.mod_revision < 2, Target.MOD_REVISION, Relation.LESS, 2),
            (key.create_revision > 3, Target.CREATE_REVISION, Relation.GREATER, 3),
            (key.value == b"v", Target.VALUE, Relation.EQUAL, b"v"),
            (key.value != None, Target.VALUE, Relation.NOT_EQUAL, None),  # noqa: E711
            (key.value < b"v", Target.VALUE, Relation.LESS, b"v"),
            (key.value > b"v", Target.VALUE, Relation.GREATER, b"v"),
        ]
        for condition, target, relation, operand in expected:
            assert isinstance(condition, Condition)
            assert condition.compare == Compare(b"a", target, relation, operand)

    with_kv(use)


def test_what_is_no_condition_is_refused() -> None:
    async def use(kv: AsyncKv[Any], client: AsyncClient, cluster: Cluster) -> None:
        with pytest.raises(errors.BadArgument, match="decided by the store"):
            bool(kv.key("a").version == 0)
        with pytest.raises(errors.BadArgument, match="whole number"):
            _ = kv.key("a").version == b"1"
        with pytest.raises(errors.BadArgument, match=r"when\(\) takes"):
            kv.txn().when(True)  # type: ignore[arg-type]
        with pytest.raises(errors.BadArgument, match=r"kv\.op"):
            kv.txn().then(b"put")  # type: ignore[arg-type]
        typed: AsyncKv[Any] = AsyncKv(client, "json")
        with pytest.raises(errors.BadArgument, match="orders values"):
            _ = typed.key("a").value < 3
        pickled: AsyncKv[Any] = AsyncKv(client, "cloudpickle")
        with pytest.raises(errors.BadArgument, match="mod_revision"):
            _ = pickled.key("a").value == 3

    with_kv(use)


def test_an_unknown_codec_is_named_with_the_known_ones() -> None:
    with pytest.raises(errors.BadArgument, match=r"'yaml'.*msgpack"):
        codecs.codec_named("yaml")


@pytest.mark.parametrize("name", ["msgpack", "json", "cloudpickle"])
def test_codecs_bring_values_back(name: str) -> None:
    codec = codecs.codec_named(name)
    for value in (None, True, 1, -2.5, "text", [1, [2]], {"b": {"a": 1}}):
        assert codec.decode(codec.encode(value)) == value
    with pytest.raises(errors.BadArgument, match=f"not {name}"):
        codec.decode(b"\xc1\xff")


@pytest.mark.parametrize("name", ["msgpack", "json"])
def test_canonical_codecs_do_not_remember_how_a_dict_was_filled(name: str) -> None:
    codec = codecs.codec_named(name)
    assert codec.encode({"a": 1, "b": 2}) == codec.encode({"b": 2, "a": 1})
    with pytest.raises(errors.BadValueType, match="object"):
        codec.encode(object())


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"a\xfe", b"a\xff"), (b"\xff\xff", b""), (b"", b"")],
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert after_prefix(prefix) == end
