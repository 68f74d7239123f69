"""The command line: options from a dataclass, and a user's mistake in one line."""

import contextlib
import dataclasses
import signal
import sys
import typing
from collections.abc import Callable, Iterator

import typeguard
import tyro

WEIGHTS = "vae_mnist.weights.h5"
# Options that may be 0; the others count things.
NOT_STORED = {"weights", "log", "snapshots", "resume", "distributed"}  # in a file
FROM_ZERO = ("beta", "dims", "image", "learning_rate", "noise", "range", "seed")
Options = typing.TypeVar("Options")  # a dataclass of them


class UserError(Exception):
    """A mistake that its message explains: what happened, and what to do about it.

    Every other exception is a bug or a learner's edit, and shows its traceback.
    """


@contextlib.contextmanager
def explain(
    problem: str, advice: str = "", kinds: type[Exception] = Exception
) -> Iterator[None]:
    """Turn exceptions into a UserError: "cannot write a.png: No space left on device".

    Catch all kinds only around libraries that raise dozens of them.
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


def parse(kind: type[Options], docstring: str) -> Options:
    """Parse the command line into a dataclass, one option per field.

    A field's comment is its help text. With --resume, options you leave out come from
    the checkpoint, if it stores them. Exits with a message if an option is impossible.
    """
    config = [tyro.conf.DisallowNone]
    if "--resume" not in sys.argv:  # where --no-color can contradict the checkpoint
        config.append(tyro.conf.FlagCreatePairsOff)
    try:
        options = tyro.cli(kind, description=docstring, config=config)
        if getattr(options, "resume", False):
            from support import weights

            settings, _ = weights.read(weights.find_unfinished(options.weights))
            saved = make(kind, settings["config"])
            options = tyro.cli(kind, default=saved, config=config)
        check(options)
    except UserError as error:
        sys.exit("error: " + " ".join(str(error).split()))
    on_ctrl_c(signal.SIG_DFL)  # ends the imports without a traceback of theirs
    if sys.stdout.isatty():
        print("loading Keras, which takes a few seconds", flush=True)
    return options


def run(main: Callable[[Options], None], options: Options) -> None:
    """Call main(options); a UserError or Ctrl-C ends in one line, status 1 or 130."""
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


def on_ctrl_c(handler: Callable | int | None) -> None:
    """Install a SIGINT handler unless SIGINT is ignored (background jobs)."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def make(kind: type[Options], values: dict) -> Options:
    """Return kind(**values), for values from JSON, which has no tuples.

    Raises UserError if a value has the wrong type or is out of range.
    """
    tuples = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    every = typeguard.CollectionCheckStrategy.ALL_ITEMS
    with explain("these are not the settings of a run"):
        options = kind(**values | tuples)
        if vars(options).keys() ^ values.keys() != NOT_STORED:
            raise ValueError("options are missing or must not be stored")
        for k, hint in typing.get_type_hints(kind).items():
            value = getattr(options, k)
            typeguard.check_type(value, hint, collection_check_strategy=every)
    check(options)
    return options


def check(options: Options) -> None:
    """Raise UserError for values that make no sense: empty, negative, infinite."""
    for field in dataclasses.fields(options):
        name, value = "--" + field.name.replace("_", "-"), getattr(options, field.name)
        if value in ("", ()):
            raise UserError(f"{name} is empty: leave it out or give a value")
        for number in value if isinstance(value, tuple) else (value,):
            least = int(field.name not in FROM_ZERO)
            if type(number) in (int, float) and not least <= number < 2**32:
                raise UserError(f"{name} {number}: give a number from {least} up")
