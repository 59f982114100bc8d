"""What went wrong with a store, in the user's words, from what RocksDB or the system say."""

from __future__ import annotations

from pathlib import Path

from raycons.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly

# RocksDB's errors reach Python as texts. The first kind with a sign in the text is the one.
_KINDS: tuple[tuple[type[StoreError], tuple[str, ...], str], ...] = (
    (
        StoreFull,
        ("no space left", "file too large", "quota exceeded"),
        "no space left; free some or enlarge the disk, and the member goes on by itself",
    ),
    (
        StoreLocked,
        ("lock hold by", "while lock file"),
        "another process, or another store object of this one, holds it; end that one first",
    ),
    (
        StoreReadOnly,
        ("read-only file system", "permission denied", "operation not permitted"),
        "it cannot be written; remount the disk or correct the permissions, "
        "and the member goes on by itself",
    ),
    (
        StoreCorrupt,
        ("corruption", "checksum", "create_if_missing", "no such file"),
        "its bytes fail their checks; this replica must not serve again: replace it by a new one",
    ),
)


def store_error(error: Exception, path: Path) -> StoreError:
    """The exception that tells a user what went wrong with the store in `path`, and the remedy."""
    if isinstance(error, StoreError):
        return error
    text = str(error).strip()
    # RocksDB's own errors are no OSError: what it misses in a store that was there is damage.
    if isinstance(error, FileNotFoundError | NotADirectoryError) and not path.exists():
        return StoreReadOnly(
            f"the store in {path}: this place cannot be made or written; choose another path, "
            f"or make the directory and let this user write there ({text})"
        )
    lower = text.lower()
    for kind, signs, remedy in _KINDS:
        if any(sign in lower for sign in signs):
            return kind(f"the store in {path}: {remedy} ({text})")
    return StoreError(
        f"the store in {path} failed: {text}; look at the disk and the system's log; "
        "the member tries again by itself"
    )
