"""Where a member's log goes: a file of its own beside Ray's, and warnings to stderr.

What workers print to stderr Ray may copy to every driver's screen. A member tells of each role
change; that belongs in a file, which Ray's dashboard and `ray logs` show.
"""

from __future__ import annotations

import logging
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(name)s pid=%(process)d %(message)s"


def log_to_file(name: str) -> Path | None:
    """Send this process' raycons log to `raycons-<name>.log` in Ray's log directory.

    Returns the file, or None where Ray does not tell its directory and stderr has to do.
    """
    logger = logging.getLogger("raycons")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    formatter = logging.Formatter(FORMAT)
    screen = logging.StreamHandler()
    screen.setFormatter(formatter)
    directory = _ray_logs()
    if directory is not None:
        path = directory / f"raycons-{name.replace('/', '-')}.log"
        file = logging.FileHandler(path, delay=True)
        file.setFormatter(formatter)
        logger.addHandler(file)
        screen.setLevel(logging.ERROR)
    logger.addHandler(screen)
    return path if directory is not None else None


def _ray_logs() -> Path | None:
    import ray

    node = getattr(ray._private.worker.global_worker, "node", None)
    return Path(node.get_logs_dir_path()) if node is not None else None
