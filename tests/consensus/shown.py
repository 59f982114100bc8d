"""How scenarios write down entries, configurations and messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from raycons.consensus.configuration import Configuration, Role
from raycons.consensus.contract import Entry, EntryKind
from raycons.consensus.messages import ReadIndexReply, SnapshotChunk, SnapshotReply
from raycons.consensus.raft.messages import (
    Append,
    Appended,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    VoteReply,
)


def kind(message: Any) -> str:
    """A message's type, in lower case: `append`, `heartbeatreply`."""
    return type(message).__name__.lower()


def show_ids(ids: Iterable[int]) -> str:
    return " ".join(map(str, sorted(ids)))


def show_configuration(configuration: Configuration) -> str:
    """`1 2 4 | 1 2 3 + 5 ~6`: voters, outgoing voters, a learner, and one that is joining."""
    text = show_ids(configuration.voters)
    if configuration.joint:
        text += f" | {show_ids(configuration.outgoing)}"
    for peer in configuration.peers:
        if peer.role == Role.JOINING:
            text += f" ~{peer.id}"
        elif peer.role == Role.LEARNER and not peer.leaving:
            text += f" +{peer.id}"
    return text


def show_entry(entry: Entry) -> str:
    """`x@3`: the command x of term 3; `-@3` a leader's first entry, `{1 2 3}@3` a configuration."""
    if entry.kind == EntryKind.NOOP:
        return f"-@{entry.term}"
    if entry.kind == EntryKind.CONFIGURATION:
        configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        return f"{{{show_configuration(configuration)}}}@{entry.term}"
    return f"{entry.data.decode()[:16]}@{entry.term}"


def show_entries(entries: Iterable[Entry]) -> str:
    return " ".join(map(show_entry, entries))


def show_message(message: Any) -> str:
    """The fields of a message that scenarios look at."""
    text = kind(message)
    match message:
        case Append():
            index, term = message.previous
            entries = show_entries(message.entries)
            text += f" {index}@{term} [{entries}] commit {message.commit}"
        case Appended():
            text += f" {message.matched}"
        case AppendRejected():
            text += f" {message.previous} hint {message.hint[0]}@{message.hint[1]}"
        case Heartbeat():
            text += f" commit {message.commit[0]}@{message.commit[1]}"
            text += f" pace {message.pace}" if message.pace > 1 else ""
        case HeartbeatReply():
            text += f" last {message.last}"
        case PreVote():
            text += f" {message.campaign_term} last {message.last[0]}@{message.last[1]}"
        case RequestVote():
            text += f" {message.term} last {message.last[0]}@{message.last[1]}"
            text += " released" if message.release else ""
        case PreVoteReply() | VoteReply():
            text += " yes" if message.granted else " no"
        case ReadIndexReply():
            text += f" {message.index}"
        case SnapshotChunk():
            text += f" {message.sequence} of {message.meta.last[0]}@{message.meta.last[1]}"
            text += " final" if message.final else ""
        case SnapshotReply():
            text += " installed" if message.installed else f" next {message.next}"
    return text
