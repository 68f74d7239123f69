"""The options that mean the same in every script, and errors in one line.

A script reads its options before its slow imports: --help and a wrong option are
answered at once. Whatever ends it from then on is told in one line.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import sys

SOURCES = (
    "mnist, fashion_mnist, mnist_sample, an .npz file, a folder of IDX files,"
    " or a folder of images"
)
WEIGHTS = "vae_mnist.weights.h5"
PICTURES = (".png", ".jpg", ".pdf", ".svg")
LARGEST = 1_000_000  # number that any option takes


def count(text: str) -> int:
    """The type of options that count something."""
    if text.isdecimal() and 1 <= int(text) <= LARGEST:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {LARGEST}")


def amount(text: str) -> float:
    """The type of options that measure something."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= LARGEST:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {LARGEST}")


def file_ending_in(*endings):
    """The type of options that name a file: its ending says the format."""

    def file_name(name: str) -> str:
        if name.endswith(endings) and pathlib.Path(name).name not in endings:
            return name
        raise argparse.ArgumentTypeError(f"the name must end in {' or '.join(endings)}")

    return file_name


def parser(docstring, output=None, formats=PICTURES, images=False, seed=False):
    """The parser of a script, with the options that mean the same in all of them.

    docstring: the script's own, which becomes its help text.
    output, formats: for a script that draws, its file, and the endings it may have.
    images: whether a companion script needs images, too. seed: whether it draws.
    """
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option(
        "--weights",
        type=file_ending_in(".weights.h5"),
        default=WEIGHTS,
        metavar="FILE",
        help="the weights file (default: %(default)s)",
    )
    if images:
        option(
            "--data",
            metavar="SOURCE",
            help=f"{SOURCES} (default: what the weights were trained on)",
        )
    if seed:
        option("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    if output:
        option(
            "--output",
            type=file_ending_in(*formats),
            default=output,
            metavar="FILE",
            help="what to write; its ending says the format (default: %(default)s)",
        )
        option("--show", action="store_true", help="open it in a window, too")
    return parser


def training_parser(docstring, hyperparameters):
    """The parser of the script that trains.

    hyperparameters: {name: (default, meaning)}, an option each. The default says what
    kind of value it takes; of a tuple, which lists all choices, it is the first.
    """
    training = parser(docstring, seed=True)
    option = training.add_argument
    option(
        "--data",
        default="mnist",
        metavar="SOURCE",
        help=f"{SOURCES} (default: %(default)s)",
    )
    option(
        "--image-size",
        type=count,
        default=28,
        metavar="N",
        help="height and width that a folder's images get (default: %(default)s)",
    )
    option("--color", action="store_true", help="keep the colours of a folder's images")
    for name, (default, meaning) in hyperparameters.items():
        kind = {"type": amount if isinstance(default, float) else count, "metavar": "N"}
        shown = default
        if isinstance(default, tuple):
            kind, default, shown = {"choices": default}, default[0], default[0]
        elif isinstance(default, list):
            kind |= {"nargs": "+"}
            shown = " ".join(map(str, default))
        elif isinstance(default, bool):
            kind, shown = {"action": "store_true"}, "off"
        text = meaning if default is None else f"{meaning} (default: {shown})"
        option("--" + name.replace("_", "-"), **kind, default=default, help=text)
    option("--resume", action="store_true", help="go on with an interrupted run")
    option(
        "--distributed",
        action="store_true",
        help="train on all devices, of one machine or several (KERAS_BACKEND=jax)",
    )
    option(
        "--log",
        type=file_ending_in(".csv"),
        metavar="FILE",
        help="write a line of CSV per epoch (default: none)",
    )
    return training


def read(parser):
    """Reads the command line, and has every error from here on told in one line.

    Returns the options by name, and in `given` the names of those on the command line.
    """
    args = parser.parse_args()
    absent = object()
    names = argparse.Namespace(**dict.fromkeys(vars(args), absent))
    parser.parse_args(namespace=names)
    args.given = {name for name, value in vars(names).items() if value is not absent}
    sys.excepthook = end_in_one_line
    # Amid the imports that follow Python would tell of Ctrl-C in many lines.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    return args


def run(main, args):
    """Calls main(args), once all is imported."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="replace")  # a terminal without σ, →, ·
    main(args)


def end_in_one_line(kind, error, traceback):
    """The sys.excepthook: what the user got wrong in one line on stderr, status 1."""
    if isinstance(error, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        sys.exit(130)  # as shells report Ctrl-C
    if isinstance(error, MemoryError):
        sys.exit("error: there is not enough memory for this")
    if isinstance(error, OSError) and error.filename:
        sys.exit(f"error: {error.filename}: {error.strerror}")
    if isinstance(error, (OSError, ValueError)):
        sys.exit("error: " + " ".join(str(error).split()))
    sys.__excepthook__(kind, error, traceback)


def progress(items, what):
    """Yields `items`, a list, with a progress bar if this is a terminal."""
    from rich.progress import track  # here, as --help need not wait for it

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return track(items, what, transient=True, disable=not terminal)
