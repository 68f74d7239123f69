"""How each kind of file is read, into arrays of uint8: .npz, IDX, folders of images.

Each reader returns a dict with x_train and, where there, y_train, x_test and y_test.
Whatever is wrong with a file is a ValueError that says so.
"""

import gzip
import math
import os
import pathlib
import sys
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps


def say(t, stream=None):
    print(t, file=stream)


def check_memory(n):
    pass


def track(items, what):
    return items


class files:
    def check_readable(p):
        pass


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """An .npz file in the layout of Keras' mnist.npz.

    Arrays: x_train and, where there, x_test, y_train, y_test; images as check_images
    takes them, labels as assemble does.
    """
    files.check_readable(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            names = {"x_train", "y_train", "x_test", "y_test"} & set(file.files)
            arrays = {name: np.asarray(file[name]) for name in names}
    except Exception as error:  # NumPy raises what zipfile, zlib or the header did.
        raise ValueError(
            f"{path} is no .npz file of plain arrays, or broken"
        ) from error
    if "x_train" not in arrays:
        raise ValueError(f"{path} has no array x_train")
    for name in {"x_train", "x_test"} & names:
        arrays[name] = check_images(arrays[name], f"{name} in {path}")
    return arrays


def find_idx(folder: pathlib.Path, *words: str) -> pathlib.Path | None:
    """The IDX file in `folder` whose name holds all `words`, or None."""
    for path in sorted(folder.glob("*idx[13]-ubyte*")):
        if all(word in path.name for word in words):
            return path
    return None


def read_idx_folder(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """A folder of IDX files, as MNIST, Fashion-MNIST, KMNIST and EMNIST come in.

    train-images-idx3-ubyte and, where there, train-labels-idx1-ubyte, and t10k- or
    test- instead of train-; each of them as it is or gzipped (.gz).
    """
    arrays = {}
    for part, words in {"train": ["train"], "test": ["t10k", "test"]}.items():
        for name, kind in {"x": "images", "y": "labels"}.items():
            paths = [path for word in words if (path := find_idx(folder, word, kind))]
            if paths:
                arrays[f"{name}_{part}"] = read_idx(paths[0])
            if paths and kind == "images":
                images = check_images(arrays[f"x_{part}"], str(paths[0]))
                if paths[0].name.startswith("emnist-"):  # stored column by column
                    images = images.swapaxes(1, 2)
                arrays[f"x_{part}"] = images
    return arrays


def read_idx(path: pathlib.Path) -> np.ndarray:
    """The array of bytes in an IDX file, gzipped if its name ends in .gz.

    The format is described at http://yann.lecun.com/exdb/mnist. Raises ValueError
    where the file does not hold exactly what its header promises.
    """
    files.check_readable(path)
    opened = gzip.open if path.suffix == ".gz" else open
    content = bytearray()
    try:
        with opened(path, "rb") as file:
            zeros, kind, dimensions = file.read(2), file.read(1), file.read(1)
            if zeros != b"\0\0" or kind != b"\x08" or not dimensions:
                raise ValueError("it does not start as an IDX file of bytes does")
            header = file.read(4 * dimensions[0])
            shape = tuple(np.frombuffer(header, ">u4").tolist())
            promised = math.prod(shape)  # a Python int, which can't overflow
            # Piece by piece: a header may promise more than there is memory.
            while len(content) <= promised and (piece := file.read(2**20)):
                content += piece
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} can't be read as an IDX file: {error}") from error
    if len(content) != promised or len(shape) != dimensions[0]:
        raise ValueError(
            f"{path} promises {' × '.join(map(str, shape))} bytes,"
            f" but holds {'fewer' if len(content) < promised else 'more'}"
        )
    return np.frombuffer(content, "uint8").reshape(shape)


def check_images(images: np.ndarray, what: str) -> np.ndarray:
    """Returns images as uint8 of shape (n, H, W) or (n, H, W, 3).

    images: uint8, or floats in [0, 1]; one grey channel may have an axis of its own.
    what: what to call them in the ValueError raised for anything else.
    """
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    grey_or_colour = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if not grey_or_colour or 0 in images.shape:
        raise ValueError(
            f"{what} has the shape {images.shape}:"
            " images are (n, height, width) or (n, height, width, 3)"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise ValueError(f"{what} is {images.dtype}: pixels are uint8 or floats")
    if not (images.min() >= 0 and images.max() <= 1):  # NaN fails both comparisons.
        raise ValueError(f"{what} has float pixels that are NaN or outside [0, 1]")
    as_bytes = np.empty(images.shape, "uint8")
    for image, pixels in zip(as_bytes, images, strict=True):  # no second float array
        image[:] = np.rint(pixels * 255)
    return as_bytes


# Folders of images


def read_image_folder(folder, size, color) -> dict[str, np.ndarray]:
    """A folder of images in any format that Pillow opens; subfolders are classes.

    In the order of their names, links followed. What can't be read, or is no image, is
    skipped, and counted in one line on stderr.
    """
    os.listdir(folder)  # raises PermissionError, where walk finds nothing
    closed, names, visited = [], [], set()
    walk = os.walk(folder, onerror=closed.append, followlinks=True)
    for place, subfolders, found in walk:
        known = len(visited)
        visited.add(os.path.realpath(place))
        if len(visited) == known:  # a link to a folder that was read already
            subfolders.clear()
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found = [name for name in found if not name.startswith(".")]
        names += [pathlib.Path(place, name).relative_to(folder) for name in found]
    names.sort()
    in_classes = [name for name in names if len(name.parts) > 1]

    check_memory(2 * len(names) * size**2 * (3 if color else 1))  # split: once more
    images = np.empty((len(names), size, size) + (3,) * color, "uint8")
    labels, reason = [], ""
    for name in track(in_classes or names, "reading"):
        try:
            images[len(labels)] = read_image(folder / name, size, color)
        except Exception as error:  # Pillow raises some twenty kinds on hostile files.
            reason = f"; the last one, {name}: {error}"
            continue
        labels.append(name.parts[0])

    skipped = len(names) - len(labels)
    if not labels:
        others = f", only {skipped} other files{reason}" if skipped else ""
        raise ValueError(f"{folder} holds no images{others}")
    if skipped or closed:
        told = f"skipped {skipped} of {len(names)} files in {folder}, which are no"
        told += " images, can't be read, or lie beside the folders of the classes"
        told += reason + f"; {len(closed)} folders can't be read" * bool(closed)
        say(f"note: {' '.join(told.split())}", sys.stderr)
    arrays = {"x_train": images[: len(labels)]}
    if in_classes:
        arrays["y_train"] = np.array(labels)
    return arrays


def read_image(path: pathlib.Path, size: int, color: bool) -> np.ndarray:
    """One image file as a square of uint8, (size, size) or (size, size, 3).

    Turned as its EXIF says, transparent pixels on white, cropped around the centre.
    """
    files.check_readable(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        image = PIL.Image.open(path)
    # Of 16 bits Pillow makes 32 where the format is one of these.
    wide = image.mode == "I" and image.format not in ("PNG", "PPM")
    image.draft(None, (2 * size, 2 * size))  # lets a JPEG decode at a smaller scale
    image = PIL.ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":  # more than 8 bits, of which Pillow would keep the low 8
        white = 1 if image.mode == "F" else 2**16 - 1
        shares = np.asarray(image) / white
        if wide or not (shares.min() >= 0 and shares.max() <= 1):
            raise ValueError(f"{path}: of 32 bits, nobody knows what is white")
        image = PIL.Image.fromarray(np.rint(255 * shares).astype("uint8"))
    if image.has_transparency_data:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB" if color else "L")
    return np.asarray(PIL.ImageOps.fit(image, (size, size)))
