"""How a bug gets into the shipped code, and out again.

Most mutants are a small edit of one function's text. The changed function is compiled beside the
shipped one, and its code put in the shipped one's place, so that whoever holds a reference to the
function (a table of handlers, a bound method) runs the bug too. An edit whose text is no longer
there is refused: a mutant that changes nothing would look like one that nobody finds.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from types import CodeType, FunctionType, TracebackType
from typing import Any


class StaleEdit(Exception):
    """The shipped code is no longer what an edit was written for."""


class Patch:
    """Changes of shipped code that end with the `with` block."""

    def __init__(self) -> None:
        self._undo = ExitStack()
        self._texts: dict[FunctionType, str] = {}  # of functions that are edited

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name`."""
        self._undo.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def edit(self, function: Callable[..., Any], old: str, new: str) -> None:
        """Put `new` for every `old` in the text of `function`, whose names are all that it may use.

        Several edits of one function add up. Raises StaleEdit where the text lacks `old`.
        """
        assert isinstance(function, FunctionType)
        text = self._texts.get(function) or textwrap.dedent(inspect.getsource(function))
        if old not in text:
            raise StaleEdit(
                f"{function.__module__}.{function.__qualname__} no longer contains {old!r}; "
                "write the mutant's edit anew"
            )
        if function not in self._texts:
            self._undo.callback(setattr, function, "__code__", function.__code__)
        self._texts[function] = text.replace(old, new)
        setattr(function, "__code__", _compile(function, self._texts[function]))  # noqa: B010


def _compile(function: FunctionType, text: str) -> CodeType:
    """The code of `text` in the place of `function`'s, with the same free variables."""
    names = function.__code__.co_freevars  # `__class__`, where the method says `super()`
    tree = ast.parse(f"def around({', '.join(names)}):\n{textwrap.indent(text, '    ')}")
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 2)
    flags = __future__.annotations.compiler_flag
    module = compile(tree, function.__code__.co_filename, "exec", flags, dont_inherit=True)
    around = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    return next(
        constant
        for constant in around.co_consts
        if isinstance(constant, CodeType) and constant.co_name == function.__name__
    )
