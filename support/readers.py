"""Read files into arrays: x_train and, if they exist, y_train, x_test and y_test."""

import glob
import gzip
import os
import pathlib
import sys
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.progress import track

from support.arrays import Arrays, assemble, printable
from support.errors import UserError, explain, on_terminal

NAMES = ("x_train", "y_train", "x_test", "y_test")
# What gzip, zipfile and NumPy raise about damaged files, and about those that promise
# more than there is
DAMAGED = (
    OSError,
    EOFError,
    IndexError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def is_image_folder(path: str) -> bool:
    """Return whether a path is a folder without IDX files."""
    return os.path.isdir(path) and not find_idx(path)


def read(path: str, size: int = 28, color: bool = False) -> tuple:
    """Read a file or a folder: return x_train, y_train, x_test, y_test, class_names.

    size, color: how to read a folder of images.
    Raises UserError if there are no images, or if they do not fit together.
    """
    if is_image_folder(path):
        arrays = read_image_folder(path, size, color)
    elif os.path.isdir(path):
        arrays = read_idx_folder(path)
    else:
        arrays = read_npz(path)
    return assemble(path, arrays)


def read_npz(path: str) -> Arrays:
    """Read an .npz file in the layout of Keras' mnist.npz."""
    advice = "write it with np.savez(path, x_train=images)"
    with explain(f"cannot read {path}", advice, DAMAGED):
        zipfile.ZipFile(path).close()  # NumPy takes any other file for a pickle.
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in NAMES if name in file}


def find_idx(folder: str) -> list[pathlib.Path]:
    """Return the IDX files in a folder, sorted by name."""
    return sorted(filter(os.path.isfile, pathlib.Path(folder).glob("*idx[13]-ubyte*")))


def read_idx_folder(folder: str) -> Arrays:
    """Read MNIST, Fashion-MNIST, KMNIST, or the first of the EMNIST sets."""
    arrays = {}
    for path in find_idx(folder):
        letter = "x" if "images" in path.name else "y"
        name = letter + ("_train" if "train" in path.name else "_test")
        if name not in arrays:
            arrays[name] = read_idx(path)
    return arrays


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Read an IDX file of bytes: http://yann.lecun.com/exdb/mnist has the format."""
    open_file = gzip.open if path.suffix == ".gz" else open
    readable = explain(f"cannot read {path}", "download it again", DAMAGED)
    with readable, open_file(path, "rb") as file:
        content = file.read()
        if content[2] != 8:
            raise ValueError(f"its values are of type {content[2]}, not bytes")
        shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
        array = np.frombuffer(content, "uint8", offset=4 + shape.nbytes)
        array = array.reshape(shape.tolist())
    if path.name.startswith("emnist-") and array.ndim == 3:  # stored by columns
        array = array.swapaxes(1, 2)
    return array


def read_image_folder(folder: str, size: int, color: bool) -> Arrays:
    """Read a folder of images, sorted by name; its subfolders, if any, are classes.

    Ignore hidden files. Say on stderr how many others were skipped, and why.
    """
    folder = pathlib.Path(folder)
    paths = map(folder.joinpath, glob.glob("**", root_dir=folder, recursive=True))
    paths = sorted(p for p in paths if os.path.isfile(p) or not os.access(p, os.R_OK))
    if not paths:
        raise UserError(f"{folder} has no readable files: put images there")
    has_classes = any(path.parent != folder for path in paths)
    images, labels, skipped = [], [], []
    for path in track(paths, "reading", disable=not on_terminal()):
        name = path.relative_to(folder)
        try:
            image = read_image(path, size, color)
            if has_classes and path.parent == folder:
                raise ValueError("not in the folder of a class")
            images.append(image)
            labels.append(name.parts[0])
        except UnidentifiedImageError:
            skipped.append(f"{name}: not an image")
        except Exception as error:  # Pillow raises dozens of kinds.
            skipped.append(f"{name}: {getattr(error, 'strerror', None) or error}")

    if skipped:
        note = f"skipped {len(skipped)} of {len(paths)} files ({printable(skipped[0])}"
        note += ", ...)" if len(skipped) > 1 else ")"
        if not images:
            raise UserError(f"{folder} has no images that Pillow can read: {note}")
        print("note:", note, file=sys.stderr)
    arrays = {"x_train": np.stack(images)}
    return arrays | {"y_train": np.array(labels)} if has_classes else arrays


def read_image(path: pathlib.Path, size: int, color: bool) -> np.ndarray:
    """Read an image as uint8, (size, size) or (size, size, 3).

    Rotate it by its EXIF data, put transparent pixels on white, and crop to its center.
    """
    image = Image.open(path)
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # whose I is 16 bits
        raise ValueError("32-bit pixels, whose range is unknown")
    image.draft(None, (2 * size, 2 * size))  # Decode a large JPEG at a smaller scale.
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":  # 16 bits or floats, which Pillow would clip at 255
        pixels = np.asarray(image) / (1 if image.mode == "F" else 2**16 - 1)
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN, too
            raise ValueError("floats outside 0 to 1")
        image = Image.fromarray(np.rint(255 * pixels).astype("uint8"))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB" if color else "L")
    return np.asarray(ImageOps.fit(image, (size, size)))
