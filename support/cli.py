"""The command line: options from a dataclass, and a user's mistake in one line."""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import sys
import typing
from collections.abc import Callable, Iterator

import typeguard
import tyro

WEIGHTS = "vae_mnist.weights.h5"
BACKENDS = ("tensorflow", "jax", "torch")
FROM_ZERO = ("seed", "dims", "image")  # integers that number things; others count them


class UserError(Exception):
    """A mistake that its message explains: what happened, and what to do about it.

    The scripts print it in one line. Every other exception is a bug, or something
    that a learner has just changed, and shows its traceback.
    """


@contextlib.contextmanager
def explain(problem: str, advice: str = "", kinds=Exception) -> Iterator[None]:
    """Turn exceptions into a UserError: "cannot write a.png: No space left on device".

    Only around libraries that raise dozens of kinds, at files that they cannot handle.
    """
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{problem}: {reason}{advice and '; ' + advice}") from error


@dataclasses.dataclass
class Trained:
    """Options of the scripts that show a trained VAE."""

    weights: str = WEIGHTS  # the weights file
    data: str | None = None  # other images than those it was trained on


Options = typing.TypeVar("Options")


def parse(kind: type[Options], docstring: str) -> Options:
    """Parse the command line into a dataclass, one option per field.

    A field's comment is its help text. With --resume, options you leave out come from
    the checkpoint. Exits with a message if an option is impossible.
    """
    config = [tyro.conf.DisallowNone]
    if "--resume" not in sys.argv:  # where --no-color can contradict the checkpoint
        config.append(tyro.conf.FlagCreatePairsOff)
    try:
        check_backend()
        options = tyro.cli(kind, description=docstring, config=config)
        check(options)
        if getattr(options, "resume", False):
            from support import weights

            settings, _ = weights.read(weights.find_unfinished(options.weights))
            saved = make(kind, settings["config"] | {"weights": options.weights})
            options = tyro.cli(kind, default=saved, config=config)
            check(options)
    except UserError as error:
        sys.exit("error: " + " ".join(str(error).split()))
    on_ctrl_c(signal.SIG_DFL)  # ends the imports without a traceback of theirs
    if sys.stdout.isatty():
        print("loading Keras, which takes a few seconds", flush=True)
    return options


def run(main: Callable[[Options], None], options: Options) -> None:
    """Call main(options); end in one line if the user made a mistake or pressed Ctrl-C.

    Status 1 means a UserError, 130 Ctrl-C, as in a shell.
    """
    on_ctrl_c(signal.default_int_handler)
    sys.stdout.reconfigure(errors="replace")  # terminals without σ or →
    if keras := sys.modules.get("keras"):
        # Keras' shortened tracebacks leave out the line of an error inside a layer.
        keras.config.disable_traceback_filtering()
    try:
        main(options)
    except UserError as error:
        sys.exit("error: " + " ".join(str(error).split()))
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "stopped", file=sys.stderr)
        sys.exit(130)


def on_ctrl_c(handler) -> None:
    """Install a SIGINT handler unless SIGINT is ignored (background jobs)."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def make(kind: type[Options], values: dict) -> Options:
    """Return kind(**values), for values that were read from a file.

    Lists become tuples, as JSON has no tuples. Raises UserError if a value has the
    wrong type or is out of range.
    """
    try:
        lists = {name: v for name, v in values.items() if isinstance(v, list)}
        options = kind(**values | {name: tuple(v) for name, v in lists.items()})
        for name, hint in typing.get_type_hints(kind).items():
            typeguard.check_type(getattr(options, name), hint)
    except (TypeError, typeguard.TypeCheckError) as error:
        raise UserError(f"these are not the settings of a run: {error}") from error
    check(options)
    return options


def check(options: Options) -> None:
    """Raise UserError for values that make no sense: empty, negative, infinite."""
    for field in dataclasses.fields(options):
        name, value = "--" + field.name.replace("_", "-"), getattr(options, field.name)
        if value in ("", ()):
            raise UserError(f"{name} is empty: leave it out or give a value")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                counts = isinstance(number, int) and field.name not in FROM_ZERO
                if not counts <= number < 2**32:
                    least = int(counts)
                    raise UserError(f"{name} {number}: give a number from {least} up")


def check_backend() -> None:
    """Raise UserError if KERAS_BACKEND names a backend that cannot train."""
    name = os.environ.get("KERAS_BACKEND")
    if name and (name not in BACKENDS or not importlib.util.find_spec(name)):
        raise UserError(
            f"KERAS_BACKEND={name} is not installed, or cannot train:"
            f" choose one of {', '.join(BACKENDS)}"
        )
