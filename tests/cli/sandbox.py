"""Runs the real `raycons` command in a home, a data root and a Ray of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 120.0


class Sandbox:
    """An environment in which no other Ray or cluster is to be found."""

    def __init__(self) -> None:
        # Short: the paths of Ray's sockets lie in it, and may have at most 107 characters.
        self.root = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "RAYCONS_"))
        }
        self.environment |= {
            "HOME": str(self.root),
            "RAYCONS_HOME": str(self.root / "data"),
            "RAY_TMPDIR": str(self.root),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(
        self, *arguments: str, stdin: bytes | None = None, timeout_s: float = TIMEOUT_S
    ) -> subprocess.CompletedProcess[bytes]:
        """`raycons ARGUMENTS`, with its output."""
        return subprocess.run(
            [sys.executable, "-m", "raycons.cli", *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            env=self.environment,
            check=False,
        )

    def begin(self, *arguments: str, stdout: int) -> subprocess.Popen[bytes]:
        """`raycons ARGUMENTS` while it runs, on a screen that is wide enough for its tables."""
        return subprocess.Popen(
            [sys.executable, "-m", "raycons.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=self.environment | {"TERM": "xterm", "COLUMNS": "200"},
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What `raycons ARGUMENTS --format json` writes to stdout, which must be JSON alone."""
        done = self.run(*arguments, "--format", "json")
        assert done.returncode == code, done.stderr.decode()
        return json.loads(done.stdout)

    def close(self) -> None:
        """End the Ray that was started in here, if any, and remove everything.

        At once: asked to end, Ray would wait for the members that are still in it.
        """
        if (self.root / "data" / "local-ray.json").exists():
            from raycons.cli import localray

            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("RAYCONS_HOME", str(self.root / "data"))
                running = localray.recorded()
                if running is not None:
                    os.killpg(running.pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)
