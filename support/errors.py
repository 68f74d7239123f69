"""What a user sees: a mistake in one line, and progress on a terminal."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator


class UserError(Exception):
    """A mistake that its message explains: what happened, and what to do about it.

    Every other exception is a bug or a learner's edit, and shows its traceback.
    """


@contextlib.contextmanager
def explain(
    problem: str,
    advice: str = "",
    kinds: type[Exception] | tuple[type[Exception], ...] = OSError,
) -> Iterator[None]:
    """Turn exceptions into a UserError: "cannot write a.png: No space left on device".

    kinds: those that the library inside is known to raise.
    """
    try:
        yield
    except kinds as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else " ".join(str(error).split())
        raise UserError(f"{problem}: {reason}" + (advice and f"; {advice}")) from error


def printable(text: object) -> str:
    """Return str(text) in one line, without control characters."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def note(text: str) -> None:
    """Print what a user should know about their data, in one line."""
    print("note:", text, file=sys.stderr)


def progress(items: Iterable, what: str, total: int | None = None) -> Iterable:
    """Yield the items; on a terminal, show a bar meanwhile. total: their number."""
    from rich.progress import track  # Here, so that --help does not wait for it.

    return track(items, what, total, transient=True, disable=not on_terminal())


def on_terminal() -> bool:
    """Return whether stdout is a terminal. Under pythonw there is none at all."""
    return bool(sys.stdout and sys.stdout.isatty())
