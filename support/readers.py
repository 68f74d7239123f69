"""Files of arrays, .npz, .npy, .csv and IDX: the images and the labels in them."""

import functools
import glob
import gzip
import os
import typing
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from support import arrays
from support.errors import UserError, explain, note
from support.folders import is_picture
from support.parts import Part, find_part, find_roles, named, used_parts
from support.tables import DAMAGED, read_table

TABLES = (".csv", ".csv.gz")
ENDINGS = (".npz", ".npy", *TABLES)
ADVICE = "write it with np.savez(path, x_train=images)"


class Stored(NamedTuple):
    """An array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]


def in_memory(array: np.ndarray) -> Stored:
    return Stored(array.shape, array.dtype, lambda: array)


def is_idx(path: str) -> bool:
    """Return whether a file has the name of an IDX file."""
    return "-ubyte" in os.path.basename(path)


def is_array(path: str) -> bool:
    """Return whether a file has the name of a file of arrays."""
    return is_idx(path) or path.lower().endswith(ENDINGS)


def find_files(folder: str) -> list[str]:
    """Return the files of arrays in a folder, sorted; none if it is one of images.

    Besides IDX files these are only those without pictures or folders beside them,
    where a table may be a list of the pictures.
    """
    entries = sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    files = [entry for entry in entries if os.path.isfile(entry)]
    if idx := list(filter(is_idx, files)):
        return idx
    if len(files) < len(entries) or any(map(is_picture, files)):
        return []
    return [file for file in files if file.lower().endswith(ENDINGS)]


def read(path: str, bits: int | None = None) -> tuple[list[Part], int | None]:
    """Read a file of arrays or a folder of them: return its parts, and their bits.

    The second part, if there is one, is for tests. bits: of the images of a model, if
    they have more than 8.
    Raises UserError if there are no images, or none that a VAE can be trained on.
    """
    stored = find_arrays(path)
    shapes = {name: s.shape for name, s in stored.items() if not s.dtype.hasobject}
    roles = find_roles(shapes)
    if not roles:
        held = [f"{name} {s.shape} {s.dtype}" for name, s in stored.items()]
        held = ", ".join(held[:9]) + ", …" * (len(held) > 9)
        problem = f"cannot find the images in {path}: it holds {held}"
        if any(s.dtype.hasobject for s in stored.values()):
            problem += "; objects, such as images of different sizes, are not read"
        raise UserError(f"{problem}; {ADVICE}")
    used = used_parts(roles)
    chosen = {name for part in used for name in roles[part]}
    left_out = [f"{n} {s.shape}" for n, s in stored.items() if n not in chosen]
    if left_out:
        note(f"left out {', '.join(left_out)} in {path}")

    def load(name: str) -> np.ndarray:
        with explain(f"cannot read {path}", ADVICE, DAMAGED):
            return stored[name].load()

    def describe(name: str) -> str:
        return path if len(stored) == 1 else f"{name} in {path}"

    images = []
    for part in used:
        name, _ = roles[part]
        images.append(arrays.to_images(load(name), describe(name)))
    images, bits = arrays.to_bytes(images, path, bits)
    parts = []
    for part, pixels in zip(used, images, strict=True):
        name, other = roles[part]
        labels = None
        if other:
            labels = arrays.to_labels(load(other), len(pixels), describe(other))
        parts.append(Part(pixels, labels, named(name, len(pixels))))
    return parts, bits


def find_arrays(path: str) -> dict[str, Stored]:
    """Return the arrays in a file, or in the files of a folder, by name."""
    files = find_files(path) if os.path.isdir(path) else [path]
    names = [os.path.basename(file) for file in files]
    if is_idx(files[0]):
        return {name: in_memory(array) for name, array in read_idx(files).items()}
    is_table = [name.lower().endswith(TABLES) for name in names]
    if len(files) > 1 and any(is_table) and not all(map(find_part, names)):
        raise UserError(f"{path} holds {', '.join(names)}: give one of these files")
    stored = {}
    for file, name in zip(files, names, strict=True):
        if name.lower().endswith(".npz"):
            inside = read_npz(file)
        elif name.lower().endswith(".npy"):
            inside = {"array": read_npy(file)}
        else:
            inside = {k: in_memory(array) for k, array in read_table(file).items()}
        for key, array in inside.items():
            if len(files) > 1:  # A name such as kmnist-train-imgs.npz says more.
                key = name if len(inside) == 1 else f"{name} {key}"
            stored[key] = array
    return stored


def read_npz(path: str) -> dict[str, Stored]:
    """Return the arrays in an .npz file, not yet loaded, nor unpickled."""
    with explain(f"cannot read {path}", ADVICE, DAMAGED), zipfile.ZipFile(path) as file:
        stored = {}
        for member in file.namelist():
            with file.open(member) as content:
                name = member.removesuffix(".npy")
                load = functools.partial(load_member, path, name)
                stored[name] = read_header(content, load)
        return stored


def load_member(path: str, name: str) -> np.ndarray:
    """Load an array of an .npz file."""
    with np.load(path, allow_pickle=False) as file:
        return file[name]


def read_npy(path: str) -> Stored:
    """Return the array in an .npy file, not yet loaded."""
    advice = "write it with np.save(path, images)"
    with explain(f"cannot read {path}", advice, DAMAGED), open(path, "rb") as file:
        return read_header(file, lambda: np.load(path, allow_pickle=False))


def read_header(file: typing.BinaryIO, load: Callable[[], np.ndarray]) -> Stored:
    """Return what the header of an .npy file says. load: how to read the rest."""
    major, _ = np.lib.format.read_magic(file)
    if major == 1:
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return Stored(shape, dtype, load)


def read_idx(paths: list[str]) -> dict[str, np.ndarray]:
    """Read MNIST, Fashion-MNIST, KMNIST, or the first of the EMNIST sets."""
    found = {}
    left_out = []
    for path in paths:
        file = os.path.basename(path)
        letter = "x" if "images" in file else "y"
        name = letter + ("_train" if "train" in file else "_test")
        if name in found:
            left_out.append(file)
        else:
            found[name] = read_idx_file(path)
    if left_out:
        note(f"left out {', '.join(left_out)}: give a folder of its own to each set")
    return found


def read_idx_file(path: str) -> np.ndarray:
    """Read an IDX file of bytes: http://yann.lecun.com/exdb/mnist has the format."""
    open_file = gzip.open if path.lower().endswith(".gz") else open
    readable = explain(f"cannot read {path}", "download it again", DAMAGED)
    with readable, open_file(path, "rb") as file:
        content = bytearray(file.read())  # so that the array is writable
        if content[2] != 8:
            raise ValueError(f"its values are of type {content[2]}, not bytes")
        shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
        array = np.frombuffer(content, "uint8", offset=4 + shape.nbytes)
        array = array.reshape(shape.tolist())
    if os.path.basename(path).startswith("emnist-") and array.ndim == 3:
        array = array.swapaxes(1, 2)  # which is stored by columns
    return array
