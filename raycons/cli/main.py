"""The `raycons` command, and what becomes of an error.

Exit codes: 0 done; 1 refused, failed or disproved; 2 wrong usage; 130 interrupted. `raycons check`
has two more meanings: 2 undecided, 3 bad input.
"""

from __future__ import annotations

import importlib
import os
import re
import sys

import click

from raycons.errors import BadArgument, RayconsError

DEBUG_VARIABLE = "RAYCONS_DEBUG"

# Where each command lives: module and name. Loaded when it is asked for, because Ray takes a second
# to load, and `raycons --help` and `raycons simulate` need no Ray.
COMMANDS = {
    "up": ("raycons.cli.clusters", "up"),
    "down": ("raycons.cli.clusters", "down"),
    "status": ("raycons.cli.clusters", "status"),
    "kv": ("raycons.cli.keyvalue", "kv"),
    "members": ("raycons.cli.members", "members"),
    "bench": ("raycons.cli.benches", "bench"),
    "chaos": ("raycons.cli.chaos", "chaos"),
    "simulate": ("raycons.cli.simulate", "command"),
    "mutants": ("raycons.cli.mutants", "command"),
    "explore": ("raycons.cli.explore", "command"),
    "check": ("raycons.cli.check", "command"),
    "demo": ("raycons.cli.demo", "demo"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are first looked at."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raycons")
def cli() -> None:
    """Consensus for Ray: replicated, durable, linearizable state.

    Joins the Ray cluster that runs on this machine, or the one that RAY_ADDRESS names.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    code = run(arguments)
    try:
        leave_ray()
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001  what was done stands
        click.echo(f"raycons: Ray did not let go: {explain(error)}", err=True)
    sys.exit(code)


def leave_ray() -> None:
    """End this process's connection, if any: left to the interpreter's exit, Ray waits 0.5 s."""
    if "ray" in sys.modules:
        import ray

        ray.shutdown()


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code, having said what went wrong on stderr."""
    debugging = os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    try:
        code = cli.main(arguments, prog_name="raycons", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("raycons: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debugging:
            raise
        click.echo(f"raycons: {explain(error)}", err=True)
        return 2 if isinstance(error, BadArgument) else 1
    return code if isinstance(code, int) else 0


def explain(error: BaseException) -> str:
    """One line that says what went wrong, and what to do next where the error does not say so."""
    if isinstance(error, RayconsError):
        message = as_commands(" ".join(str(error).split()))
        return message or type(error).__name__
    if isinstance(error, ExceptionGroup):
        return explain(error.exceptions[0])
    return (
        f"unexpected {type(error).__name__}: {' '.join(str(error).split())} "
        f"(set {DEBUG_VARIABLE}=1 for the traceback)"
    )


# What errors advise to call, and the command that does it.
_ADVICE = (
    (r"call ray\.init\(address=\.\.\.\), or raycons\.start\(\.\.\.\)", "run `raycons up`"),
    (r"raycons\.start\('([^']*)'\)", r"`raycons up --name \1`"),
    (r"(?:raycons\.)?\bstop\('([^']*)', destroy=True\)", r"`raycons down --name \1 --destroy`"),
    (r"\bstart\(path=\.\.\.\)", "`raycons up --path ...`"),
)


def as_commands(message: str) -> str:
    """A message of the API whose advice can be followed at a terminal.

    >>> as_commands("no cluster 'a' runs; raycons.start('a') creates it")
    "no cluster 'a' runs; `raycons up --name a` creates it"
    """
    for call, command in _ADVICE:
        message = re.sub(call, command, message)
    return message


if __name__ == "__main__":
    main()
