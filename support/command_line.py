"""The options that mean the same in every script, and errors in one line.

A script reads its options before its slow imports: --help and a wrong option are
answered at once. Whatever ends it from then on is told in one line.
"""

import argparse
import contextlib
import os
import pathlib
import shlex
import signal
import sys
import threading

from support import end_silently, on_ctrl_c

SOURCES = (
    "mnist, fashion_mnist, mnist_sample, an .npz file, a folder of IDX files,"
    " or a folder of images"
)
PICTURES = (".png", ".jpg", ".pdf", ".svg")
LARGEST = 1_000_000  # number that any option takes
NO_MEMORY = ("resource_exhausted", "out of memory", "oom when", "allocate memory")


def whole_number_from(least):
    """The type of options that are whole numbers, from `least` on."""

    def read_number(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= LARGEST:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number from {least} to {LARGEST}"
        )

    return read_number


def number_up_to(largest):
    """The type of options that are numbers from 0 to `largest`."""

    def read_number(text: str) -> float:
        with contextlib.suppress(ValueError):
            if 0 <= float(text) <= largest:
                return float(text)
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {largest}")

    return read_number


count, whole = whole_number_from(1), whole_number_from(0)  # how many; which one
amount = number_up_to(LARGEST)
FRACTION = {"type": number_up_to(1)}  # of the scale on which pixels are
SOURCE = {"type": str, "metavar": "SOURCE"}
FOLDER = {"type": str, "metavar": "FOLDER"}


def file_ending_in(*endings):
    """How to read an option that names a file: its ending says the format."""

    def file_name(name: str) -> str:
        if name.endswith(endings) and pathlib.Path(name).name not in endings:
            return name
        raise argparse.ArgumentTypeError(f"the name must end in {' or '.join(endings)}")

    return {"type": file_name, "metavar": "FILE"}


# Tables of options: name, default, meaning. The default says what kind of value it is;
# a tuple lists all choices, the default first. What else argparse must know can follow.
WEIGHTS = "vae_mnist.weights.h5"
ALL = {"weights": (WEIGHTS, "the weights file", file_ending_in(".weights.h5"))}
SEED = {"seed": (0, "of all random numbers", {"type": whole})}
TRAINED_ON = {  # for scripts that show images
    "data": (
        None,
        f"{SOURCES} (default: what the weights were trained on)",
        SOURCE,
    )
}
RUN = {  # for the script that trains
    "data": ("mnist", SOURCES, SOURCE),
    "image_size": (28, "height and width that a folder's images get"),
    "color": (False, "keep the colours of a folder's images"),
    "resume": (False, "go on with an interrupted run"),
    "log": (None, "a line of CSV per epoch (default: none)", file_ending_in(".csv")),
    "snapshots": (
        None,
        "keep the weights as they change, for a film (default: none)",
        FOLDER,
    ),
    "distributed": (False, "train on all devices or machines (KERAS_BACKEND=jax)"),
}


def drawing(output, formats=PICTURES):
    """The options of a script that draws: its file, whose ending says the format."""
    return {
        "output": (output, "what to write", file_ending_in(*formats)),
        "show": (False, "open it in a window, too"),
    }


def read(docstring, *tables):
    """Reads the command line, and has every error from here on told in one line.

    docstring: the script's own, which becomes its help text. tables: of its options.
    Returns the options by name, and in `given` the names of those on the command line.
    """
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options = {name: how for table in (ALL, *tables) for name, how in table.items()}
    for name, (default, meaning, *how) in options.items():
        add_option(parser, name, default, meaning, *how)
    args = parser.parse_args()
    # Again, onto marks: what still is a mark afterwards was not on the command line.
    absent = object()
    given = parser.parse_args(
        namespace=argparse.Namespace(**dict.fromkeys(vars(args), absent))
    )
    args.given = {name for name, value in vars(given).items() if value is not absent}
    # A file would get the number of a closed stream, and what libraries write to that.
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    sys.excepthook, sys.unraisablehook = end_in_one_line, interrupt_again
    on_ctrl_c(end_silently)
    if sys.stdout.isatty():
        say("loading the libraries, which takes some seconds")
    return args


def add_option(parser, name, default, meaning, how=None):
    """Adds an option as the tables above describe it."""
    kind = {"type": amount if isinstance(default, float) else count, "metavar": "N"}
    shown = default
    if isinstance(default, tuple):
        kind, default, shown = {"choices": default}, default[0], default[0]
    elif isinstance(default, list):
        kind["nargs"], shown = "+", " ".join(map(str, default))
    elif isinstance(default, bool):
        kind, shown = {"action": "store_true"}, "off"
    text = meaning if default is None else f"{meaning} (default: {shown})"
    option = "--" + name.replace("_", "-")
    parser.add_argument(option, default=default, help=text, **kind | (how or {}))


def run(main, args):
    """Calls main(args), once all is imported."""
    on_ctrl_c(signal.default_int_handler)
    sys.stdout.reconfigure(errors="replace")  # a terminal without σ, →, ·
    main(args)
    sys.stdout.flush()  # Here an error still is told in one line.


def say(text, stream=None):
    """Prints a line to stdout, or `stream`; nobody who can hear it is no error."""
    with unheard(stream or sys.stdout) as stream:
        print(text, file=stream, flush=True)


def say_next(path):
    """Says what draws the weights file `path`."""
    option = "" if path == WEIGHTS else f" --weights {shlex.quote(path)}"
    scripts = "plot_latent.py", "generate_grid.py"
    next_ones = ", ".join(f"python {script}{option}" for script in scripts)
    say(f"wrote {path}; next: {next_ones}")


@contextlib.contextmanager
def unheard(stream):
    """Goes on where a stream is a closed pipe or a full disk, silent from then on."""
    try:
        yield stream
    except OSError:
        # Also what still waits to be written is thrown away.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def end_in_one_line(kind, error, traceback):
    """The sys.excepthook: what the user got wrong in one line on stderr, status 1.

    Whoever changes the code gets the whole traceback: python -X dev vae_mnist.py
    """
    if sys.flags.dev_mode:
        sys.__excepthook__(kind, error, traceback)
    with unheard(sys.stdout):
        sys.stdout.flush()
    if isinstance(error, KeyboardInterrupt):
        say("stopped", sys.stderr)
        sys.exit(130)  # as shells report Ctrl-C
    if isinstance(error, BrokenPipeError):  # Whoever read it has had enough.
        sys.exit(0)
    # TensorFlow, JAX and PyTorch have errors of their own for it.
    told = str(error).lower()
    if isinstance(error, MemoryError) or any(word in told for word in NO_MEMORY):
        sys.exit("error: there is not enough memory for this")
    if isinstance(error, OSError) and error.filename:
        sys.exit(f"error: {error.filename}: {error.strerror}")
    if isinstance(error, (OSError, ValueError, ImportError)):
        sys.exit("error: " + " ".join(str(error).split()))
    sys.__excepthook__(kind, error, traceback)


def interrupt_again(unraisable):
    """The sys.unraisablehook: a Ctrl-C that came where Python raises nothing."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # Here it would be lost.
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def check_memory(size):
    """Raises MemoryError where this machine has fewer bytes: now, not in minutes."""
    with contextlib.suppress(AttributeError, ValueError):  # Windows has no sysconf.
        if size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            raise MemoryError
