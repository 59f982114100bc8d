"""Every exception that a user of raycons can meet.

An error of an operation says which of three things happened, because the right reaction differs:

- `NotApplied`: the operation certainly had no effect; do it again if you like.
- `OutcomeUnknown`: it may have taken effect, now or later; read before you repeat it.
- `Refused`: the store looked at it and said no by its own rules; repeating it changes nothing.

Where an operation was tried several times, its error is the least certain of all its attempts.
"""

from __future__ import annotations


class RayconsError(Exception):
    """Base of every exception that raycons raises on purpose."""


# --- the three outcomes of an operation -----------------------------------------------------------


class NotApplied(RayconsError):
    """The operation certainly had no effect."""


class OutcomeUnknown(RayconsError):
    """The operation may have taken effect, or may still; read before you repeat it."""


class Refused(RayconsError):
    """The operation reached the store and broke one of its rules; it had no effect."""


class Overloaded(NotApplied):
    """A bounded queue is full; try again after a pause, or with fewer operations in flight."""


class Unavailable(NotApplied):
    """No leader could be reached within the timeout, and nothing was sent to one."""


class Closed(NotApplied):
    """The handle was closed, or the cluster stopped, before the operation was sent."""


class Unsupported(Refused):
    """The cluster's protocol cannot do this; the message names one that can."""


class Compacted(Refused):
    """The asked revision is older than the store still keeps."""


class FutureRevision(Refused):
    """The asked revision has not happened yet."""


class ConfigurationChanged(Refused):
    """A membership change was computed from a configuration that is no longer the current one."""


class ChangeInProgress(Refused):
    """Another membership change has not finished."""


class NoSuchMember(Refused):
    """The named member is not part of the cluster."""


class LastVoter(Refused):
    """The change would leave the cluster without a voter."""


class SessionExpired(OutcomeUnknown):
    """The session ended while the operation was under way."""


# --- arguments ------------------------------------------------------------------------------------


class BadArgument(RayconsError, ValueError):
    """An argument is out of its bounds; nothing was sent."""


class BadValueType(BadArgument, TypeError):
    """A value is not bytes, and the handle has no codec to turn it into bytes."""


class BadHistory(BadArgument):
    """A recorded history is not one; the message names the line."""


# --- clusters -------------------------------------------------------------------------------------


class ClusterError(RayconsError):
    """Something about a cluster as a whole."""


class ClusterExists(ClusterError):
    """A cluster of that name exists with other settings."""


class ClusterNotFound(ClusterError):
    """No cluster of that name is known to this Ray cluster."""


class ClusterLost(ClusterError):
    """The cluster that this handle was made for is gone for good; its data did not survive."""


class MembersMissing(ClusterError):
    """Stores of the cluster exist, but too few of its members came up to resume it."""


class InsideRayWorker(ClusterError):
    """`start` and `stop` belong in a driver; a task or actor uses `connect`."""


# --- stores ---------------------------------------------------------------------------------------


class StoreError(RayconsError):
    """Something about a member's data on disk; the message names the path."""


class StoreCorrupt(StoreError):
    """The store's bytes fail their checks; this replica must not serve again as itself."""


class StoreLocked(StoreError):
    """Another process holds the store."""


class StoreFull(StoreError):
    """There is no space left where the store lives."""


class StoreReadOnly(StoreError):
    """The store's place cannot be written."""


class StoreFormatMismatch(StoreError):
    """The store was written by a version of raycons with another format."""


# --- the wire -------------------------------------------------------------------------------------


class TransportError(RayconsError):
    """Something about a connection between members, or between a client and a member."""


class ProtocolMismatch(TransportError):
    """The other side speaks another protocol version, or is not raycons."""
