"""Client sessions: each command takes effect exactly once, though clients retry."""

from raycons.machines.sessions.commands import (
    Alive,
    Close,
    Crowded,
    Do,
    Done,
    Expire,
    Forgotten,
    Invalid,
    KeepAlive,
    Open,
    Opened,
    Own,
    SessionAnswer,
    SessionCommand,
    UnknownSession,
)
from raycons.machines.sessions.records import SessionSettings
from raycons.machines.sessions.table import Sessions

__all__ = [
    "Alive",
    "Close",
    "Crowded",
    "Do",
    "Done",
    "Expire",
    "Forgotten",
    "Invalid",
    "KeepAlive",
    "Open",
    "Opened",
    "Own",
    "SessionAnswer",
    "SessionCommand",
    "SessionSettings",
    "Sessions",
    "UnknownSession",
]
