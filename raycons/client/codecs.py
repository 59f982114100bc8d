"""How values become bytes and come back.

| name          | values                            | canonical |
|---------------|-----------------------------------|-----------|
| `bytes`       | bytes, as they are                | yes       |
| `msgpack`     | plain data, msgspec structs       | yes       |
| `json`        | the same, as readable text        | yes       |
| `cloudpickle` | nearly any Python object          | no        |

Canonical: equal values give equal bytes. The store compares bytes, so compare-and-swap and value
conditions are refused where a codec is not canonical: they would fail for values that are equal.
Compare a version in a transaction instead. `cloudpickle` also runs code when it decodes: use it
only where everyone who can write to the cluster is trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

import cloudpickle  # type: ignore[import-untyped]
import msgspec

from raycons.errors import BadArgument, BadValueType, RayconsError

V = TypeVar("V")


class ValueCodec(Protocol[V]):
    """Turns values into bytes and back."""

    @property
    def name(self) -> str:
        """What the codec is called in messages."""

    @property
    def canonical(self) -> bool:
        """Whether equal values always give equal bytes."""

    def encode(self, value: V) -> bytes:
        """The value's bytes; raises BadValueType for a value that the codec cannot take."""

    def decode(self, data: bytes) -> V:
        """The value; raises BadArgument for bytes that the codec did not write."""


class Plain:
    """Values are bytes already."""

    name = "bytes"
    canonical = True

    def encode(self, value: bytes) -> bytes:
        """The same bytes; a bytearray or memoryview is copied, so that it can change afterwards."""
        if type(value) is bytes:
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise BadValueType(
            f"a value must be bytes, and this one is {type(value).__name__}: encode it, or pass"
            ' codec="msgpack", "json" or "cloudpickle" when you make the handle'
        )

    def decode(self, data: bytes) -> bytes:
        """The same bytes."""
        return data


class Made(Generic[V]):
    """A codec made of two functions."""

    def __init__(
        self,
        name: str,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], V],
        canonical: bool,
    ) -> None:
        self.name = name
        self.canonical = canonical
        self._encode = encode
        self._decode = decode

    def encode(self, value: V) -> bytes:
        """See ValueCodec."""
        try:
            return self._encode(value)
        except Exception as error:  # a foreign encoder may raise anything
            raise BadValueType(
                f"codec {self.name!r} cannot encode a value of type {type(value).__name__}: {error}"
            ) from error

    def decode(self, data: bytes) -> V:
        """See ValueCodec."""
        try:
            return self._decode(data)
        except RayconsError:
            raise
        except Exception as error:  # a foreign decoder may raise anything
            raise BadArgument(
                f"a stored value of {len(data)} bytes is not {self.name}: {error};"
                " read it with the codec that wrote it"
            ) from error


def plain() -> ValueCodec[bytes]:
    """Values are bytes, and stay as they are."""
    return Plain()


@overload
def msgpack() -> ValueCodec[Any]: ...
@overload
def msgpack(type: type[V]) -> ValueCodec[V]: ...
def msgpack(type: Any = Any) -> ValueCodec[Any]:
    """Values as MessagePack; with a `type`, decoded into it and checked.

    >>> msgpack().decode(msgpack().encode({"b": 2, "a": [1, None]}))
    {'a': [1, None], 'b': 2}
    """
    # Sorted keys: a dict's order of insertion is not part of its value.
    encoder = msgspec.msgpack.Encoder(order="deterministic")
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(type)
    return Made("msgpack", encoder.encode, decoder.decode, canonical=True)


@overload
def json() -> ValueCodec[Any]: ...
@overload
def json(type: type[V]) -> ValueCodec[V]: ...
def json(type: Any = Any) -> ValueCodec[Any]:
    """Values as JSON; with a `type`, decoded into it and checked."""
    encoder = msgspec.json.Encoder(order="deterministic")
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(type)
    return Made("json", encoder.encode, decoder.decode, canonical=True)


def pickled() -> ValueCodec[Any]:
    """Values as cloudpickle writes them: functions and classes too, and not canonical."""
    return Made("cloudpickle", cloudpickle.dumps, cloudpickle.loads, canonical=False)


@overload
def codec_named(codec: Literal["bytes"]) -> ValueCodec[bytes]: ...
@overload
def codec_named(codec: str) -> ValueCodec[Any]: ...
@overload
def codec_named(codec: ValueCodec[V]) -> ValueCodec[V]: ...
def codec_named(codec: str | ValueCodec[Any]) -> ValueCodec[Any]:
    """The codec of that name; a codec of one's own passes through."""
    if not isinstance(codec, str):
        return codec
    makers: dict[str, Callable[[], ValueCodec[Any]]] = {
        "bytes": plain,
        "msgpack": msgpack,
        "json": json,
        "cloudpickle": pickled,
    }
    if codec not in makers:
        raise BadArgument(f"no codec is called {codec!r}; there are {', '.join(makers)}")
    return makers[codec]()
