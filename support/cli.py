"""The command line: options from a dataclass, and how a script starts and ends."""

import dataclasses
import gc
import os
import signal
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Annotated

import tyro

from support.errors import UserError, on_terminal
from support.files import check_writable

WEIGHTS = "vae_mnist.weights.h5"
T = typing.TypeVar("T")

# Rules for options stand beside their types, as in epochs: AtLeast1[int]. A rule is a
# function of an option's name and value, which raises UserError.


def at_least(least: int) -> Callable:
    def rule(option: str, number: float) -> None:
        if not least <= number < 2**32:  # NaN, too
            range_ = "below 2^32" if number >= 2**32 else f"from {least} up"
            raise UserError(f"{option} {number}: give a number {range_}")

    return rule


def writable(*endings: str) -> Callable:
    def rule(option: str, path: str) -> None:
        if not path.endswith(endings):
            either = " or ".join(endings)
            raise UserError(f"{option} {path}: the name must end in {either}")
        check_writable(path)

    return rule


def is_source(option: str, source: str) -> None:
    from support import sources  # Here, so that --help does not wait for it.

    sources.check_source(source)


def not_a_file(option: str, folder: str) -> None:
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"{option} {folder}: it exists and is not a folder")


def may_change(option: str, value: object) -> None:
    """Let an option change when a run is resumed."""


AtLeast0 = Annotated[T, at_least(0)]
AtLeast1 = Annotated[T, at_least(1)]
ImageSize = AtLeast1[int] | tuple[AtLeast1[int], AtLeast1[int]]
MayChange = Annotated[T, may_change]
Source = Annotated[str, is_source]
NewWeights = Annotated[str, writable(".weights.h5")]  # as Keras requires
NewFolder = Annotated[str, not_a_file]
NewTable = Annotated[str, writable(".csv")]


def rules(kind: type) -> Iterator[tuple[str, str, list[Callable]]]:
    """Yield each field of a dataclass, its option, and the rules in its type."""

    def find(hint):
        found = [rule for rule in getattr(hint, "__metadata__", ()) if callable(rule)]
        return found + [rule for part in typing.get_args(hint) for rule in find(part)]

    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        yield name, "--" + name.replace("_", "-"), find(hint)


def check(options: object) -> None:
    """Raise UserError if an option is empty or breaks a rule."""
    for name, option, its_rules in rules(type(options)):
        value = getattr(options, name)
        if value in ("", ()):
            raise UserError(f"{option} is empty: leave it out or give a value")
        for each in value if isinstance(value, tuple) else (value,):
            for rule in its_rules if each is not None else ():
                rule(option, each)


def options(docstring: str, keras: bool = True) -> Callable[[type[T]], type[T]]:
    """Return a decorator of a script's dataclass of options, one per field.

    When the script is run, not imported, parse the command line at once: --help and
    mistakes should not wait for the imports below, which take seconds.
    docstring: the help text; a field's comment is that of its option. keras: whether
    the script loads Keras.
    """

    def decorate(kind: type[T]) -> type[T]:
        if kind.__module__ == "__main__":
            kind.command_line = parse(kind, docstring)
            if keras and on_terminal():
                print("loading Keras, which takes a few seconds", flush=True)
            if not is_interactive():
                on_ctrl_c(signal.SIG_DFL)  # ends the imports without their traceback
                # Looking for garbage among a million new objects takes a second.
                gc.disable()
                os.environ.pop("MPLBACKEND", None)  # of a notebook, not of this script
        return kind

    return decorate


def parse(kind: type[T], docstring: str) -> T:
    """Return the options of the command line, or exit with a message.

    With --resume, options you leave out come from the checkpoint, if it stores them.
    """
    if hasattr(sys.stdout, "reconfigure"):  # not in notebooks
        sys.stdout.reconfigure(errors="replace")  # for terminals without σ or →
    flags = [tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff]
    try:
        options = tyro.cli(kind, description=docstring, config=flags)
        check(options)
        if getattr(options, "resume", False):
            from support import weights

            settings, _ = weights.read(weights.find_unfinished(options.weights))
            stored = make(kind, settings["config"])
            # Allow --binarize and --no-binarize, whichever is the default now.
            options = tyro.cli(kind, default=stored, config=flags[:1])
            check(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    return options


def make(kind: type[T], stored: dict) -> T:
    """Return kind(**stored), for values from JSON, which has no tuples.

    Options that an older file lacks take their defaults; others raise UserError.
    """
    if unknown := stored.keys() - {field.name for field in dataclasses.fields(kind)}:
        names = ", ".join(sorted(unknown))
        raise UserError(f"trained with options that this version lacks: {names}")
    tuples = {name: tuple(v) for name, v in stored.items() if isinstance(v, list)}
    return kind(**stored | tuples)


def run(main: Callable[[T], None], kind: type[T]) -> None:
    """Call main(options); a UserError or Ctrl-C ends in one line, status 1 or 130."""
    on_ctrl_c(signal.default_int_handler)
    if not is_interactive():
        gc.freeze()  # or Python looks through all of them once more as it ends
        gc.enable()
    if keras := sys.modules.get("keras"):
        # Keras' shortened tracebacks leave out the line of an error inside a layer.
        keras.config.disable_traceback_filtering()
    try:
        main(kind.command_line)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "stopped", file=sys.stderr)
        sys.exit(130)


def is_interactive() -> bool:
    """Return whether Python stays open afterwards: a notebook, IDLE, python -i."""
    return hasattr(sys, "ps1") or "idlelib.run" in sys.modules or sys.flags.inspect


def on_ctrl_c(handler: Callable | int | None) -> None:
    """Install a SIGINT handler unless SIGINT is ignored (background jobs)."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
