"""Load the images of a data set, split into a training and a test part."""

import os
import socket
import sys
import zlib
from dataclasses import dataclass

import numpy as np

from support.errors import UserError

NAMES = ("mnist", "fashion_mnist", "mnist_sample")
SAMPLE = os.path.join(os.path.dirname(__file__), "mnist_sample.npz")
FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"


@dataclass(frozen=True)
class Dataset:
    """Images, uint8, (n, H, W) or (n, H, W, 3), and their classes, numbers from 0."""

    x_train: np.ndarray
    y_train: np.ndarray | None  # None if there are no labels
    x_test: np.ndarray
    y_test: np.ndarray | None
    class_names: list[str] | None
    source: str  # what `load` takes to read the same images again
    held_out: bool = True  # whether x_test is known to contain no training image

    def checksum(self) -> int:
        """Return a CRC-32 that identifies the images and their split."""
        checksum = zlib.crc32(str((self.x_train.shape, self.x_test.shape)).encode())
        for images in (self.x_train, self.x_test):
            checksum = zlib.crc32(np.ascontiguousarray(images), checksum)
        return checksum


def load(
    source: str | None = None, image_size: int | None = None, color: bool = False
) -> Dataset:
    """Load a data set: one of NAMES, an .npz file, or a folder of IDX files or images.

    By default load mnist or, if it cannot be downloaded, mnist_sample.
    image_size, color: how to read a folder of images; by default 28×28 and gray.
    Raises UserError if there is no such source, or no images in it.
    """
    from support import readers  # Here, so that checking --data is quick.

    if (image_size or color) and not readers.is_image_folder(source or ""):
        problem = "--image-size and --color are for folders of images"
        raise UserError(f"{problem}: leave them out for {source or 'mnist'}")
    if source is None:
        try:
            return download("mnist")
        except UserError as error:
            print(f"note: {error}; using mnist_sample instead", file=sys.stderr)
            source = "mnist_sample"
    check_source(source)
    if source == "mnist_sample":
        return Dataset(*readers.read(SAMPLE), source)
    if source in NAMES:
        return download(source)
    path = os.path.realpath(source)
    return Dataset(*readers.read(path, image_size or 28, color), path)


def check_source(source: str) -> None:
    """Raise UserError if `load` cannot read a source."""
    is_file = source.endswith(".npz") and os.path.isfile(source)
    if source not in NAMES and not is_file and not os.path.isdir(source):
        problem = "is not a data set" if os.path.exists(source) else "does not exist"
        names = f"{', '.join(NAMES)}, an .npz file, or a folder of IDX files or images"
        raise UserError(f"{source} {problem}: give --data {names}")


def download(name: str) -> Dataset:
    """Load MNIST or Fashion-MNIST, which Keras downloads once."""
    from support.backend import keras  # This takes seconds.

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # Keras would wait forever.
    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare one, "URL fetch ... -- reason".
        reason = str(error).rpartition(" -- ")[2]
        raise UserError(f"cannot download {name}: {reason}") from error
    finally:
        socket.setdefaulttimeout(timeout)
    names = FASHION.split(",") if name == "fashion_mnist" else list("0123456789")
    return Dataset(x_train, y_train, x_test, y_test, names, name)
