"""The weights file: its format, all of it.

It is what Keras' `save_weights` writes, plus the settings and the losses of the run.
Why not a .keras file? It also stores the layers, and would ignore edits of the lesson.
"""

import json
import math
import os
import pathlib
import typing
import warnings

import h5py
import numpy as np

from support.errors import UserError, explain
from support.files import replacing

FORMAT = 3  # older files cannot be read
SUFFIX = ".weights.h5"
Model = typing.Any  # a keras.Model; Keras takes seconds, and the losses need none
Settings = dict[str, typing.Any]
History = list[dict[str, float]]  # one dict per epoch


def save(model: Model, path: str, settings: Settings, history: History) -> None:
    """Write a weights file atomically. It holds

    - the model's weights and, except in snapshots, the optimizer's state, as Keras
      writes them,
    - an attribute "settings", which is JSON: "config", the options of the model and its
      training; "image_shape"; "classes", how many images each has to train on;
      "checksum", of the images; "labels", the same of the labels that a conditional
      model was given; "bits", of the pixels if over 8; "run", a random id; "format",
    - a dataset "history" with a row per epoch, and its columns' names in an attribute.
    """
    optimizer = getattr(model, "optimizer", None)
    variables = model.variables + (optimizer.variables if optimizer else [])
    # HDF5 crashes on a full disk. Its names and structure take some kB for an array.
    size = sum(4 * math.prod(variable.shape) for variable in variables)
    size += 3_000 * len(model.variables) + 200_000
    with replacing(path, size) as temporary:
        model.save_weights(temporary)
        with h5py.File(temporary, "r+") as file:
            file.attrs["settings"] = json.dumps({"format": FORMAT} | settings)
            file["history"] = np.array([list(row.values()) for row in history])
            file["history"].attrs["columns"] = list(history[0]) if history else []


def read(path: str | os.PathLike) -> tuple[Settings, History]:
    """Return the settings and the history in a weights file.

    Raises UserError if there is no such file or this version did not write it.
    """
    if not os.path.isfile(path):
        raise UserError(
            f"there is no file {path}: train one with vae_mnist.py or name another"
        )
    with usable(path), h5py.File(path) as file:
        settings = json.loads(file.attrs["settings"])
        if settings.pop("format") != FORMAT:
            raise ValueError("another version of vae_mnist.py wrote it")
        rows, names = file["history"][()].tolist(), file["history"].attrs["columns"]
        return settings, [dict(zip(names, row, strict=True)) for row in rows]


def load(model: Model, path: str | os.PathLike) -> None:
    """Set the model's weights and, if it is compiled, its optimizer's state.

    Raises UserError if they do not fit the model.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer:
        optimizer.iterations.assign(-1)  # until it is loaded
    with usable(path), warnings.catch_warnings():
        # Keras only warns if the optimizer's state does not fit, in words that change.
        warnings.simplefilter("ignore")
        model.load_weights(path)
        if optimizer and optimizer.iterations == -1:
            raise ValueError("it lacks the state of the optimizer")


def usable(path: str | os.PathLike):
    """Return a context in which h5py's and Keras' exceptions become UserErrors."""
    problem = f"cannot use the weights in {path}"
    kinds = OSError, KeyError, ValueError
    return explain(problem, "train again with vae_mnist.py", kinds)


def checkpoint_of(path: str | os.PathLike) -> pathlib.Path:
    """Return where an unfinished run keeps the weights that will end up in `path`."""
    path = pathlib.Path(path).resolve()
    return path.with_name(path.name.removesuffix(SUFFIX) + ".checkpoint" + SUFFIX)


def find_unfinished(path: str | os.PathLike) -> pathlib.Path:
    """Return what --resume continues: the checkpoint or, if there is none, `path`."""
    checkpoint = checkpoint_of(path)
    if not checkpoint.exists() and not os.path.exists(path):
        raise UserError(f"nothing to resume: no {checkpoint.name} and no {path}")
    return checkpoint if checkpoint.exists() else pathlib.Path(path)
