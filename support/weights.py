"""The weights file, and how any file is replaced atomically.

A weights file is what Keras' `save_weights` writes, plus an attribute with the settings
as JSON and a dataset with the losses of every epoch. A checkpoint has the same format
and also holds the optimizer's state.
"""

import contextlib
import json
import math
import os
import pathlib
import tempfile
import typing
import warnings
from collections.abc import Iterator

import h5py
import numpy as np

from support.cli import UserError, explain

if typing.TYPE_CHECKING:
    import keras

FORMAT = 2  # of the settings; older files cannot be read
SUFFIX = ".weights.h5"  # as Keras requires
METRICS = ["loss", "reconstruction", "kl", "val_loss", "val_reconstruction", "val_kl"]
COLUMNS = [*METRICS, "seconds", "learning_rate"]
# What a file says about its run; run is a random id.
SETTINGS = {"config": dict, "image_shape": list, "checksum": int, "run": str}
Settings = dict[str, typing.Any]  # with these names and types
History = list[dict[str, float]]  # one dict per epoch, with these columns


@contextlib.contextmanager
def replacing(path: str | os.PathLike, size: int = 0) -> Iterator[pathlib.Path]:
    """Yield a path to write to; then move that file to `path`, atomically.

    If `path` is a symbolic link, replace the file it points to. size: bytes that
    must fit. Raises UserError if the file cannot be written.
    """
    target = check_writable(path)
    with (
        explain(f"cannot write {path}", kinds=OSError),
        tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder,
    ):
        part = pathlib.Path(folder, target.name)
        part.write_bytes(bytes(size))
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)


def check_writable(path: str | os.PathLike) -> pathlib.Path:
    """Return the real path of a file; raise UserError if it cannot be written."""
    with explain(f"cannot write {path}", kinds=OSError):
        target = pathlib.Path(path).resolve()
        if target.exists() and not target.is_file():
            raise UserError(f"cannot write {path}: it exists and is not a file")
        tempfile.TemporaryFile(dir=target.parent).close()
    return target


def save(model: "keras.Model", path: str, settings: Settings, history: History) -> None:
    """Write a weights file atomically, with the optimizer if the model has one."""
    # HDF5 aborts the process on a full disk, so check first that there is room:
    # RMSprop keeps two more arrays per weight, and each array takes some more.
    size = 13 * model.count_params() + 3_000 * len(model.weights) + 200_000
    with replacing(path, size) as part:
        model.save_weights(part)
        with h5py.File(part, "r+") as file:
            file.attrs["settings"] = json.dumps({"format": FORMAT} | settings)
            file["history"] = np.array([list(row.values()) for row in history])


def read(path: str | os.PathLike) -> tuple[Settings, History]:
    """Return the settings and the history in a weights file.

    Raises UserError if there is no such file or this version did not write it.
    """
    with explained(path), h5py.File(path) as file:
        settings = json.loads(file.attrs["settings"])
        if settings.pop("format", None) != FORMAT:
            raise ValueError("another version of vae_mnist.py wrote it")
        if {name: type(value) for name, value in settings.items()} != SETTINGS:
            raise ValueError("its settings are incomplete or have the wrong types")
        shape = settings["image_shape"]
        sides = all(type(side) is int and side > 0 for side in shape)
        if len(shape) < 2 or shape[2:] not in ([], [3]) or not sides:
            raise ValueError(f"its image_shape is {shape}")
        sizes = []
        file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
        if max(sum(sizes), 4 * math.prod(shape)) > os.path.getsize(path):
            raise ValueError("its images or arrays are larger than the file")
        rows = file["history"][()].astype(float).tolist()
        return settings, [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def peek(path: str | os.PathLike) -> tuple[str | None, History]:
    """Return the id and the history of a file's run; None and [] if there is none."""
    try:
        settings, history = read(path)
    except UserError:  # Nothing that a run could lose.
        return None, []
    return settings["run"], history


def load(model: "keras.Model", path: str | os.PathLike) -> None:
    """Set the model's weights and, if it is compiled, its optimizer's state.

    Raises UserError if they do not fit the model or are not finite.
    """
    with explained(path), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras warns of missing layers.
        model.load_weights(path)
        if not all(np.isfinite(weight).all() for weight in model.get_weights()):
            raise ValueError("its weights are not finite")


def explained(path: str | os.PathLike) -> contextlib.AbstractContextManager:
    """Return a context in which h5py's and Keras' exceptions become UserErrors."""
    if not os.path.isfile(path):
        raise UserError(
            f"there is no file {path}: train one with vae_mnist.py or name another"
        )
    return explain(f"cannot use the weights in {path}", "train again with vae_mnist.py")


def checkpoint_of(path: str | os.PathLike) -> pathlib.Path:
    """Return where an unfinished run keeps the weights that will end up in `path`."""
    if not str(path).endswith(SUFFIX):
        raise UserError(f"--weights {path}: the name must end in {SUFFIX}")
    path = pathlib.Path(path).resolve()
    return path.with_name(path.name.removesuffix(SUFFIX) + ".checkpoint" + SUFFIX)


def find_unfinished(path: str | os.PathLike) -> pathlib.Path:
    """Return what --resume continues: the checkpoint or, if there is none, `path`."""
    checkpoint = checkpoint_of(path)
    return checkpoint if os.path.exists(checkpoint) else pathlib.Path(path)
