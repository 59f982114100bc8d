"""Which error an operation ends with: the least certain of all its attempts.

An attempt that was definitely refused (not the leader, overloaded, unavailable) had no effect. Any
other attempt that was handed to a connection may have had one, or may still. So one attempt without
an answer makes the whole operation unknown, whatever later attempts were told.
"""

from __future__ import annotations

from raycons import errors
from raycons.client.calls import Call, Queries
from raycons.machines.kv.commands import Failed, Failure
from raycons.member.protocol import Code, Refused

# Refusals after which another attempt may succeed.
PASSING = frozenset({Code.NOT_LEADER, Code.LEADERSHIP_LOST, Code.OVERLOADED, Code.UNAVAILABLE})

_RULES: dict[int, type[errors.Refused]] = {
    Code.CONFIGURATION_CHANGED: errors.ConfigurationChanged,
    Code.CHANGE_IN_PROGRESS: errors.ChangeInProgress,
    Code.NO_SUCH_MEMBER: errors.NoSuchMember,
    Code.LAST_VOTER: errors.LastVoter,
}


def has_no_effect(call: Call | None) -> bool:
    """Whether an operation in `call` (None: still in the queue) certainly had no effect so far."""
    return call is None or call.unresolved == 0


def late(
    call: Call | None,
    reading: bool,
    refusal: Refused | None,
    connected: list[int],
    absence: str = "",
) -> Exception:
    """The error of an operation whose deadline passed.

    Args:
        call: what it travelled in; None: it was not sent yet.
        reading: whether it changes nothing.
        refusal: the last that was received.
        connected: the members that can be sent to.
        absence: why no member can be found, where that is known.
    """
    if not reading and not has_no_effect(call):
        return errors.OutcomeUnknown(
            "no answer within the timeout, after the operation was sent: it may have taken effect,"
            " or may still; read before you repeat it" + (f" ({absence})" if absence else "")
        )
    if refusal is not None and refusal.code == Code.OVERLOADED:
        return errors.Overloaded(
            f"the leader was overloaded until the timeout ({refusal.message or 'queue full'});"
            " nothing was done; try again later, or with fewer operations in flight"
        )
    if not connected and absence:
        return errors.Unavailable(f"{absence}; nothing was done until the timeout")
    if not connected:
        return errors.Unavailable(
            "no member could be reached within the timeout; nothing was done;"
            " see that the cluster runs"
        )
    said = f"; last refusal: {_code_name(refusal.code)} {refusal.message}" if refusal else ""
    return errors.Unavailable(
        f"no leader answered within the timeout (connected to members {connected}){said};"
        " nothing was done; a majority of the members may be down"
    )


def closed(call: Call | None, reading: bool) -> Exception:
    """The error of an operation that was under way when the handle was closed."""
    if reading or has_no_effect(call):
        return errors.Closed("the handle was closed before the operation was carried out")
    return errors.OutcomeUnknown(
        "the handle was closed after the operation was sent and before its answer: it may have"
        " taken effect"
    )


def session_expired() -> Exception:
    """The error of an operation that was sent under a session which the group no longer knows."""
    return errors.SessionExpired(
        "the session ended while the operation was under way (no contact for longer than its time"
        " to live): it may have taken effect; read before you repeat it"
    )


def broken_rule(call: Call, refusal: Refused) -> Exception:
    """The error of an operation that a member refused by a rule, so that retrying is of no use."""
    kind = _RULES.get(refusal.code, errors.Refused)
    text = refusal.message or f"refused by the member: {_code_name(refusal.code)}"
    if isinstance(call, Queries) or has_no_effect(call):
        return kind(text)
    return errors.OutcomeUnknown(f"an earlier attempt may have taken effect; the last one: {text}")


def unreadable(call: Call) -> Exception:
    """The error of an operation whose answer makes no sense here (a newer member, most likely)."""
    text = "the answer could not be read; the members may run another version of raycons"
    return (
        errors.ProtocolMismatch(text) if isinstance(call, Queries) else errors.OutcomeUnknown(text)
    )


def unknown_change() -> Exception:
    """The error of a change of the group whose only attempt has no definite answer."""
    return errors.OutcomeUnknown(
        "contact was lost after the change was sent: it may have been made, or may still; look at"
        " the status before you repeat it"
    )


def failed(failure: Failed) -> Exception:
    """The error for an operation that the key-value machine refused."""
    match failure.reason:
        case Failure.COMPACTED:
            return errors.Compacted(
                f"{failure.message or f'it was compacted; the oldest is {failure.bound}'}:"
                f" a read names a revision of at least {failure.bound}, or none, to see what is"
                " there now"
            )
        case Failure.FUTURE_REVISION:
            return errors.FutureRevision(
                f"{failure.message or f'it has not happened yet; the newest is {failure.bound}'}:"
                f" name one of at most {failure.bound}; a read that names none sees what is"
                " there now"
            )
        case Failure.UNSUPPORTED:
            return errors.Unsupported(failure.message)
        case Failure.FORGOTTEN:
            return session_expired()
        case _:
            return errors.BadArgument(failure.message or "the operation is not valid")


def _code_name(code: int) -> str:
    return Code(code).name if code in set(Code) else f"code {code}"
