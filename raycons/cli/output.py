"""What commands print: a report on stdout, as a table for people or as JSON alone for programs.

Everything else (progress, notes, errors) goes to stderr, so that stdout can be piped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click
import msgspec
from rich.console import Console, RenderableType
from rich.table import Table

Format = Literal["table", "json"]
F = TypeVar("F", bound=Callable[..., Any])

# A string is shown as it is: keys, values and reasons may look like rich's markup or emoji codes.
# What is to be styled is a Text.
stdout = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How the result is written to stdout.",
)


def emit(report: object, form: Format, table: Callable[[], RenderableType]) -> None:
    """Write `report` as one line of JSON, or as what `table` makes of it."""
    if form == "json":
        click.echo(msgspec.json.encode(report).decode())
    else:
        stdout.print(table())


def note(message: str) -> None:
    """A remark for the person at the terminal."""
    stderr.print(message, style="dim")


def fields(report: object, title: str | None = None) -> Table:
    """A two-column table of a flat report's fields."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="cyan")
    table.add_column(justify="right")
    plain: dict[str, Any] = msgspec.to_builtins(report)
    for name, value in plain.items():
        table.add_row(name.replace("_", " "), text(value))
    return table


def text(value: object) -> str:
    """A value as a table shows it.

    >>> text(12345), text(True), text({"median": 0.5, "min": 0.4, "max": 0.6}), text([1.0, 2.5])
    ('12,345', 'yes', '0.5 (0.4 to 0.6)', '1, 2.5')
    """
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case {"median": median, "min": least, "max": most}:
            return f"{text(median)} ({text(least)} to {text(most)})"
        case dict():
            return ", ".join(f"{key} {text(one)}" for key, one in value.items())
        case list() | tuple():
            return ", ".join(text(one) for one in value)
        case None:
            return "-"
        case _:
            return str(value)
