"""Load the images of a data set, split into a training and a test part."""

import os
import socket
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from support import images, readers
from support.errors import UserError, note, printable
from support.images import Format
from support.parts import Part, named, select
from support.sources import NAMES, check_source, is_pictures

SAMPLE = os.path.join(os.path.dirname(__file__), "mnist_sample.npz")
CLASSES = {  # whose names are not their numbers
    "fashion_mnist": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,"
    "Ankle boot",
    "cifar10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
}


@dataclass(frozen=True)
class Dataset:
    """Images and their classes."""

    train: Part
    test: Part | None  # None if `read` finds no such part; `load` then makes one
    class_names: list[str] | None  # None if there are no labels
    source: str  # what `load` takes to read the same images again
    bits: int | None = None  # of the pixels before they became bytes, if over 8
    checksum: int = 0  # of the images and of what their split depends on


def load(
    source: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    color: bool = False,
    background: str = "white",
    only: Sequence[str] | None = None,
) -> Dataset:
    """Load a data set: one of NAMES, a file, or a folder. Return both of its parts.

    By default load mnist or, if it cannot be downloaded, mnist_sample.
    image_size, color, background: how to read pictures; by default 28×28 and gray.
    only: names of classes, to leave out the others.
    Raises UserError if there is no such source or class, or no images in it.
    """
    size = image_size or Format.size
    size = (size, size) if isinstance(size, int) else tuple(size)
    form = Format(size, color, background)
    if (image_size or form != Format()) and not is_pictures(source):
        problem = "--image-size, --color and --background are for pictures"
        raise UserError(f"{problem}: leave them out for {source or 'mnist'}")
    try:
        dataset = read(source or "mnist", form)
    except UserError as error:
        if source:
            raise
        note(f"{error}; using mnist_sample instead")
        dataset = read("mnist_sample", form)
    dataset = dataset if dataset.test else hold_out(dataset)
    return keep_classes(dataset, only) if only else dataset


def read(source: str, form: Format) -> Dataset:
    """Read a data set. Its `test` is None if it has a single part.

    form: how to read pictures.
    """
    check_source(source)
    names = None
    bits = None
    if source in NAMES and source != "mnist_sample":
        parts = download(source)
        names = CLASSES[source].split(",") if source in CLASSES else None
    else:
        path = SAMPLE if source == "mnist_sample" else source
        if is_pictures(path):
            parts, bits = images.read(path, form)
        else:
            parts, bits = readers.read(path, form.bits)
    return assemble(source, parts, names, bits)


def assemble(
    source: str, parts: list[Part], names: list[str] | None, bits: int | None
) -> Dataset:
    """Return a Dataset of one or two parts, with numbers for labels.

    names: of the classes; by default, the labels.
    Raises UserError if the parts do not fit together.
    """
    shapes = [part.images.shape[1:] for part in parts]
    if len(set(shapes)) > 1:
        problem = f"{source} has images of different shapes"
        raise UserError(f"{problem}: {shapes[0]} to train on, {shapes[1]} to test on")
    brightest = max(int(part.images.max()) for part in parts)
    if brightest < 64:  # a quarter of white
        problem = f"the brightest pixel is {brightest} of 255"
        advice = "if it should be white, rescale the pixels, as with x / x.max()"
        note(f"{problem}, and any model of dark images has a low loss: {advice}")
    labels = [part.labels for part in parts if part.labels is not None]
    if labels:
        classes = np.unique(np.concatenate(labels))
        printed = names or [printable(label) for label in classes]
        names = list(dict.fromkeys(printed))  # "cat" and "cat " are the same.
        numbers = np.array([names.index(name) for name in printed])
        parts = [
            part
            if part.labels is None
            else replace(part, labels=numbers[np.searchsorted(classes, part.labels)])
            for part in parts
        ]
    checksum = zlib.crc32(str(tuple(part.images.shape for part in parts)).encode())
    for part in parts:
        checksum = zlib.crc32(np.ascontiguousarray(part.images), checksum)
    if len(parts) == 1 and labels:  # on which the split depends
        checksum = zlib.crc32(parts[0].labels.astype("<i8"), checksum)
    train = parts[0]
    test = parts[1] if len(parts) > 1 else None
    source = source if source in NAMES else os.path.realpath(source)
    return Dataset(train, test, names if labels else None, source, bits, checksum)


def hold_out(dataset: Dataset) -> Dataset:
    """Move a fifth of the images from the training to a test part, the same each time.

    They are drawn at random, in proportion to the classes. Saves memory by moving the
    images within their array. Raises UserError if there are fewer than five.
    """
    part = dataset.train
    count = len(part.images)
    if count < 5:
        raise UserError(f"{dataset.source} has fewer than 5 images: add more")
    order = np.random.default_rng(0).permutation(count)
    if part.labels is not None:
        order = order[np.argsort(part.labels[order], kind="stable")]
    held_out = np.zeros(count, bool)
    held_out[order[4::5]] = True
    test = select(part, held_out)
    return replace(dataset, train=select(part, ~held_out, in_place=True), test=test)


def keep_classes(dataset: Dataset, only: Sequence[str]) -> Dataset:
    """Return a data set with only some of its classes; move their images in place.

    only: their names. Raises UserError if there are no labels, or if a part has no
    images of one of them.
    """
    source, classes = dataset.source, dataset.class_names
    if not classes:
        problem = f"{source} has no labels, so there is no class {only[0]}"
        raise UserError(f"{problem}: leave out --only")
    if unknown := [name for name in only if name not in classes]:
        known = ", ".join(classes)
        raise UserError(f"{source} has no class {unknown[0]}: its classes are {known}")
    numbers = sorted({classes.index(name) for name in only})
    names = [classes[number] for number in numbers]

    def kept(part: Part, use: str) -> Part:
        here = set() if part.labels is None else set(part.labels.tolist())
        if lacking := [classes[number] for number in numbers if number not in here]:
            raise UserError(f"{source} has no images of {lacking[0]} {use}: add some")
        few = select(part, np.isin(part.labels, numbers), in_place=True)
        return replace(few, labels=np.searchsorted(numbers, few.labels))

    train = kept(dataset.train, "to train on")
    test = dataset.test and kept(dataset.test, "that are held out")
    return replace(dataset, train=train, test=test, class_names=names)


def know_classes(
    source: str, part: Part, names: list[str] | None, known: list[str]
) -> Part:
    """Return a part with the class numbers of a conditional model.

    names: of its classes. known: of the model's. Raises UserError if the images have no
    labels, or one that the model does not know.
    """
    if part.labels is None:
        problem = f"{source} has no labels, which a conditional VAE needs"
        raise UserError(f"{problem}: sort the pictures into folders, one per class")
    for number in np.unique(part.labels):
        if names[number] not in known:
            problem = f"the VAE does not know the label {names[number]} of {source}"
            advice = f"choose other --data; the VAE knows {', '.join(known)}"
            raise UserError(f"{problem}: {advice}")
    numbers = [known.index(name) if name in known else -1 for name in names]
    return replace(part, labels=np.array(numbers)[part.labels])


def download(name: str) -> list[Part]:
    """Load a data set that Keras downloads once."""
    from support.backend import keras  # This takes seconds.

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # Keras would wait forever.
    try:
        loaded = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare one, "URL fetch ... -- reason".
        reason = str(error).rpartition(" -- ")[2]
        raise UserError(f"cannot download {name}: {reason}") from error
    finally:
        socket.setdefaulttimeout(timeout)
    return [
        # Fashion-MNIST comes read-only.
        Part(np.require(x, requirements="W"), y.ravel(), named(f"x_{part}", len(x)))
        for part, (x, y) in zip(("train", "test"), loaded, strict=True)
    ]
