"""The weights file: a model's weights, its settings, and the history of its training.

It is what Keras' save_weights writes, with two things more: an attribute that holds
the settings as JSON, and a dataset with a row of losses per epoch. One file, so nothing
gets out of step. The optimizer's state is in it, too: a training can go on from it.
"""

import contextlib
import json
import os
import warnings

import h5py
import numpy as np

from support import files
from support.command_line import LARGEST

SETTINGS, HISTORY = "settings", "history"
ALWAYS = {"data": "mnist", "image_shape": [28, 28], "checksum": 0}


def size(model):
    """About how many bytes the file takes, with RMSprop's two numbers per weight."""
    return 13 * model.count_params() + 100_000


def save(model, path, settings, history=()):
    """Writes a weights file, whole at every moment.

    path: must end in .weights.h5, as Keras requires.
    settings: a dict for JSON. history: a dict of numbers by name, for every epoch.
    """
    # HDF5 crashes Python where the disk is full: make sure of the room.
    with files.replacing(path, size(model)) as part:
        model.save_weights(part)
        with h5py.File(part, "r+") as file:
            file.attrs[SETTINGS] = json.dumps(settings)
            file[HISTORY] = np.array([list(row.values()) for row in history])
            file[HISTORY].attrs["columns"] = list(history[0]) if history else []


def fits(value, example):
    """Whether a setting is of its example's kind. None stands for a count."""
    example = 1 if example is None else example
    if isinstance(example, list):
        listed = isinstance(value, list) and len(value) > 0
        return listed and all(fits(each, example[0]) for each in value)
    if isinstance(example, float):
        return type(value) in (int, float) and 0 <= value <= LARGEST
    if type(example) is int:
        return type(value) is int and min(1, example) <= value <= 2**32
    return type(value) is type(example)


def check(settings, examples):
    """Raises ValueError where settings are not of their examples' kinds.

    examples: a dict of the settings that there must be; of a tuple one must be chosen.
    """
    for name, example in (ALWAYS | examples).items():
        value = settings.get(name)
        chosen = isinstance(example, tuple) and value in example
        if not (chosen or fits(value, example)):
            raise ValueError(f"{name} can't be {value!r}")
    if settings["image_shape"][2:] not in ([], [3]) or len(settings["image_shape"]) < 2:
        raise ValueError(f"image_shape can't be {settings['image_shape']}")


@contextlib.contextmanager
def reading(path):
    """Turns what readers raise at a broken file `path` into one ValueError."""
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"there are no weights in {path}: python vae_mnist.py trains some, and"
            " --weights names others"
        )
    files.check_readable(path)
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # NumPy, h5py and Keras raise a dozen kinds of them.
        raise ValueError(
            f"{path} does not hold weights written by this vae_mnist.py, which can"
            f" train new ones ({type(error).__name__}: {error})"
        ) from error


def read(path, examples=None):
    """The settings and the history in a weights file, as save takes them.

    examples: settings that there must be, and values of their kinds, for `check`.
    Raises FileNotFoundError where there is no file, ValueError where it is not one
    that save wrote.
    """
    with reading(path), h5py.File(path) as file:
        settings = dict(json.loads(file.attrs[SETTINGS]))
        if examples is not None:
            check(settings, examples)
        sizes = []
        file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
        if sum(sizes) > os.path.getsize(path):
            raise ValueError("it promises more than it holds")
        columns = file[HISTORY].attrs["columns"].tolist()
        rows = file[HISTORY][()].astype(float).tolist()
        history = [dict(zip(columns, row, strict=True)) for row in rows]
    return settings, history


def load(model, path):
    """Sets the model's weights and, where it is compiled, its optimizer's state.

    Raises what `read` does, and ValueError where they do not fit or are not finite.
    """
    with reading(path), warnings.catch_warnings():
        # Keras only warns where it leaves a layer as it was at random.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise ValueError(f"{path} holds weights that are not finite: train again")


def checkpoint_of(path):
    """The weights file of an unfinished training, beside the one it will become."""
    folder = os.path.dirname(os.path.realpath(path) if os.path.islink(path) else path)
    name = os.path.basename(path).removesuffix(".weights.h5")
    return os.path.join(folder, name + ".checkpoint.weights.h5")
