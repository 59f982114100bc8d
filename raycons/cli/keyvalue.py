"""`raycons kv`: one operation on the store of a running cluster."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from raycons.cli.output import Format, emit, format_option, note
from raycons.cli.session import connected, name_option

if TYPE_CHECKING:
    from raycons.client.blocking import Kv
    from raycons.client.entries import Entry

key_argument = click.argument("key")
timeout_option = click.option(
    "--timeout", type=float, default=10.0, show_default=True, help="Seconds until it gives up."
)
stale_option = click.option(
    "--stale",
    is_flag=True,
    help="Accept what one member holds, perhaps old; tells how old at most.",
)

# Of a stale read: since when the member that answered had not heard from a leader, in seconds.
Lag = float | msgspec.UnsetType


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key for JSON, which has no bytes: text where the value is UTF-8, else base64."""

    key: str
    revision: int
    version: int
    create_revision: int
    value: str | None = None
    value_base64: str | None = None
    lag_s: Lag = msgspec.UNSET


class Put(msgspec.Struct, frozen=True):
    """What a put did."""

    key: str
    revision: int


class Absent(msgspec.Struct, frozen=True):
    """There is no such key."""

    key: str
    found: bool = False
    lag_s: Lag = msgspec.UNSET


class Deleted(msgspec.Struct, frozen=True):
    """What a delete did."""

    key: str
    deleted: int


class Swapped(msgspec.Struct, frozen=True):
    """What a compare-and-swap did."""

    key: str
    succeeded: bool


class Listed(msgspec.Struct, frozen=True):
    """What a range holds."""

    revision: int
    count: int
    more: bool
    entries: list[Shown]
    lag_s: Lag = msgspec.UNSET


def shown(entry: Any) -> Shown:
    """An entry of the store, fit for JSON."""
    text: str | None = None
    coded: str | None = None
    if entry.value is not None:
        try:
            text = entry.value.decode("utf-8")
        except UnicodeDecodeError:
            coded = base64.b64encode(entry.value).decode("ascii")
    return Shown(entry.name, entry.mod_revision, entry.version, entry.create_revision, text, coded)


def value_bytes(value: str) -> bytes:
    """The value that an argument names: its UTF-8 bytes, or all of stdin for "-"."""
    return sys.stdin.buffer.read() if value == "-" else value.encode("utf-8")


@click.group()
def kv() -> None:
    """Read and write keys. A VALUE of "-" is read from stdin."""


@kv.command()
@key_argument
@name_option
@timeout_option
@click.option("--revision", default=0, help="As of this revision; 0: now.")
@stale_option
@format_option
def get(key: str, name: str, timeout: float, revision: int, stale: bool, form: Format) -> int:
    """Write the value of KEY to stdout, as it is. Exit code 1 where there is no such key."""
    with connected(name) as cluster:
        store = cluster.kv()
        lag_s: Lag = msgspec.UNSET
        if stale:
            entry, lag_s = _stale_entry(store, key, revision, timeout)
        else:
            entry = store.get_entry(key, revision=revision, timeout=timeout)
    if not isinstance(lag_s, msgspec.UnsetType) and form == "table":
        note(_age(lag_s))
    if entry is None:
        if form == "json":
            emit(Absent(key, lag_s=lag_s), form, lambda: "")
        click.echo(f"raycons: there is no key {key!r}", err=True)
        return 1
    if form == "json":
        emit(msgspec.structs.replace(shown(entry), lag_s=lag_s), form, lambda: "")
    else:
        sys.stdout.buffer.write(entry.value or b"")
        sys.stdout.buffer.write(b"\n" if sys.stdout.isatty() else b"")
        sys.stdout.buffer.flush()
    return 0


def _stale_entry(
    store: Kv[bytes], key: str, revision: int, timeout: float
) -> tuple[Entry[bytes] | None, float]:
    """What one member holds under `key`, and how old that is at most, in seconds."""
    store.key(key)  # refuses what is no key
    # A range of this one key: unlike a get, a range tells its age.
    found = store.range(
        start=key, end=f"{key}\0", revision=revision, level="stale", timeout=timeout
    )
    return (found[0] if found else None), found.lag_s


def _age(lag_s: float) -> str:
    return f"at most {lag_s:.3f} s old"


@kv.command()
@key_argument
@click.argument("value")
@name_option
@timeout_option
@format_option
def put(key: str, value: str, name: str, timeout: float, form: Format) -> None:
    """Set KEY to VALUE."""
    content = value_bytes(value)
    with connected(name) as cluster:
        done = Put(key, cluster.kv().put(key, content, timeout=timeout))
    emit(done, form, lambda: f"{key} at revision {done.revision}")


@kv.command()
@key_argument
@name_option
@timeout_option
@click.option("--prefix", is_flag=True, help="Every key that begins with KEY.")
@format_option
def delete(key: str, name: str, timeout: float, prefix: bool, form: Format) -> None:
    """Remove KEY."""
    with connected(name) as cluster:
        store = cluster.kv()
        if prefix:
            count = store.delete_range(prefix=key, timeout=timeout)
        else:
            count = store.delete(key, timeout=timeout)
    emit(Deleted(key, count), form, lambda: f"{count} removed")


@kv.command()
@click.argument("prefix", default="")
@name_option
@timeout_option
@click.option("--start", help="From this key on, instead of PREFIX.")
@click.option("--end", help="Up to, not including, this key.")
@click.option("--limit", default=0, help="At most so many; 0: all.")
@click.option("--keys-only", is_flag=True)
@click.option("--descending", is_flag=True)
@click.option("--revision", default=0, help="As of this revision; 0: now.")
@stale_option
@format_option
def range(
    prefix: str,
    name: str,
    timeout: float,
    start: str | None,
    end: str | None,
    limit: int,
    keys_only: bool,
    descending: bool,
    revision: int,
    stale: bool,
    form: Format,
) -> None:
    """List the keys that begin with PREFIX, or lie between --start and --end, in order."""
    bounds: dict[str, Any] = {"start": start, "end": end}
    if start is None and end is None:
        bounds = {"prefix": prefix}
    elif prefix:
        raise click.UsageError("give PREFIX, or --start and --end, not both")
    with connected(name) as cluster:
        found = cluster.kv().range(
            **bounds,
            limit=limit,
            keys_only=keys_only,
            descending=descending,
            revision=revision,
            level="stale" if stale else "linearizable",
            timeout=timeout,
        )
    listed = Listed(
        found.revision,
        found.count,
        found.more,
        [shown(one) for one in found],
        found.lag_s if stale else msgspec.UNSET,
    )
    emit(listed, form, lambda: _table(listed))


def _table(listed: Listed) -> Table:
    more = f" of {listed.count:,}" if listed.more else ""
    age = "" if isinstance(listed.lag_s, msgspec.UnsetType) else f", {_age(listed.lag_s)}"
    table = Table(
        caption=f"{len(listed.entries):,}{more} keys at revision {listed.revision:,}{age}",
        caption_justify="left",
    )
    table.add_column("key")
    table.add_column("value")
    table.add_column("revision", justify="right")
    table.add_column("version", justify="right")
    for one in listed.entries:
        value = one.value if one.value_base64 is None else f"base64:{one.value_base64}"
        table.add_row(Text(one.key), Text(value or ""), str(one.revision), str(one.version))
    return table


@kv.command()
@key_argument
@click.argument("value")
@click.option("--expect", help="What KEY must hold now.")
@click.option("--expect-absent", is_flag=True, help="There must be no KEY now.")
@name_option
@timeout_option
@format_option
def cas(
    key: str,
    value: str,
    expect: str | None,
    expect_absent: bool,
    name: str,
    timeout: float,
    form: Format,
) -> int:
    """Set KEY to VALUE if it holds what is expected. Exit code 1 where it does not."""
    if (expect is None) is not expect_absent:
        raise click.UsageError("give one of --expect VALUE and --expect-absent")
    content = value_bytes(value)
    expected = None if expect is None else expect.encode("utf-8")
    with connected(name) as cluster:
        succeeded = cluster.kv().compare_and_swap(
            key, expect=expected, value=content, timeout=timeout
        )
    unexpected = "is not absent" if expected is None else "is absent or holds another value"
    what = "is set" if succeeded else f"{unexpected}; nothing was changed"
    emit(Swapped(key, succeeded), form, lambda: f"{key} {what}")
    return 0 if succeeded else 1
