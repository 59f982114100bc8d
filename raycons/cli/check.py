"""`raycons check`: whether a recorded history is linearizable."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from pathlib import Path
from traceback import walk_tb
from typing import Any

import click
import msgspec

from raycons.cli.output import Format, fields, format_option, stderr, stdout
from raycons.errors import BadArgument, BadHistory
from raycons.verify import Model, Verdict, check, read_history
from raycons.verify.models import BUILT_IN
from raycons.verify.picture import check_name, draw
from raycons.verify.story import story

CODES = {"linearizable": 0, "not linearizable": 1, "undecided": 2}
BAD_INPUT = 3


class CheckReport(msgspec.Struct, frozen=True):
    """What a check came to."""

    verdict: str
    operations: int
    objects: int
    undecided_objects: int
    seconds: float


@click.command(name="check")
@click.argument("history", type=click.Path(path_type=Path))
@click.option(
    "--model",
    "model_name",
    default="kv",
    show_default=True,
    metavar="NAME",
    help=f"{', '.join(BUILT_IN)}; or a class of your own: FILE.py:Class, package.module:Class.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds after which it is undecided.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    default=None,
    help="Draw a violation into this file, .svg or .html.",
)
@format_option
@click.pass_context
def command(
    context: click.Context,
    history: Path,
    model_name: str,
    timeout: float,
    picture: Path | None,
    form: Format,
) -> None:
    """Judge a history of operations: one JSON object a line (docs/verification.md).

    Exit code 0: linearizable; 1: not, and the smallest part that shows it is shown; 2: undecided
    within the timeout; 3: the history is not one, and its first bad line is named, or the model
    raised an exception.
    """
    if picture is not None:
        check_name(picture)
    model = model_named(model_name)
    begin = time.monotonic()
    try:
        verdict = check(read_history(history, model.operations), model, timeout=timeout)
    except BadHistory as error:
        click.echo(f"raycons: {history}: {error}", err=True)
        context.exit(BAD_INPUT)
    except Exception as error:
        if not is_of_model(error, model):
            raise
        click.echo(f"raycons: the model {model_name} cannot take this history: {error!r}", err=True)
        context.exit(BAD_INPUT)
    _show(verdict, time.monotonic() - begin, form)
    if picture is not None and verdict.violation is not None:
        draw(verdict.violation, picture)
        stderr.print(f"drawn into {picture}", style="dim")
    context.exit(CODES[verdict.answer])


def model_named(name: str) -> Model:
    """The model of that name; raises BadArgument if there is none."""
    if name in BUILT_IN:
        return BUILT_IN[name]()
    module_name, colon, attribute = name.rpartition(":")
    if not colon:
        raise BadArgument(
            f"no model is called {name!r}; there are {', '.join(BUILT_IN)},"
            " and FILE.py:Class for one of your own"
        )
    try:
        made = getattr(_module(module_name), attribute)()
    except Exception as error:
        raise BadArgument(f"the model {name} cannot be loaded: {error}") from error
    if not isinstance(made, Model):
        raise BadArgument(f"{name} is no raycons.verify.Model")
    return made


def is_of_model(error: Exception, model: Model) -> bool:
    """Whether the model's code raised it, or has a state that no search can remember.

    Whatever else a check raises is an error of the checker.
    """
    modules = (sys.modules.get(kind.__module__) for kind in type(model).__mro__)
    files = {getattr(module, "__file__", None) for module in modules}
    raised_in = {frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)}
    return isinstance(error, BadArgument) or not files.isdisjoint(raised_in)


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def _show(verdict: Verdict, seconds: float, form: Format) -> None:
    report = CheckReport(
        verdict.answer,
        verdict.operations,
        verdict.objects,
        verdict.undecided,
        round(seconds, 3),
    )
    if form == "json":
        whole = {**msgspec.to_builtins(report), "violation": _violation(verdict)}
        click.echo(msgspec.json.encode(whole).decode())
        return
    stdout.print(fields(report))
    if verdict.violation is not None:
        stdout.print()
        for line in story(verdict.violation):
            stdout.print(line, style="bold red" if line.endswith("<- impossible") else None)


def _violation(verdict: Verdict) -> dict[str, Any] | None:
    shown = verdict.violation
    if shown is None:
        return None
    return {
        "key": shown.key,
        "operations": shown.operations,
        "impossible": shown.impossible,
        "before": shown.start,
        "begins_later": shown.is_cut,
        "explained": [{"operation": one.op, "state": one.state} for one in shown.explained],
        "dead_ends": [{"operation": one.op, "reason": one.reason} for one in shown.dead_ends],
        "story": story(shown),
    }
