"""The images that a script shows: those held out from a model, or others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from support import data, noise
from support.errors import UserError, note, printable
from support.images import Format
from support.parts import Part


@dataclass(frozen=True)
class Shown(Part):
    """The images that a script shows, and what is known about them."""

    class_names: list[str] | None  # None if there are no labels
    held_out: bool  # whether these were held out when the model was trained
    train: Part | None  # the training part of their data set, if it was asked for

    @property
    def kind(self) -> str:
        """What to call them."""
        return "held-out " * self.held_out + "image" + "s" * (len(self.images) > 1)


def format_of(settings: dict) -> Format:
    """Return how to read pictures for a model, from its settings."""
    shape, config = settings["image_shape"], settings["config"]
    bits = settings.get("bits")
    return Format(tuple(shape[:2]), len(shape) == 3, config["background"], bits)


def load_files(settings: dict, paths: Sequence[str]) -> np.ndarray:
    """Return the images in files, (n, H, W) or (n, H, W, 3), as a model knows them.

    settings: those of the model. Raises UserError as `data.read` does.
    """
    parts = [data.read(path, format_of(settings)).train.images for path in paths]
    if any(part.shape[1:] != tuple(settings["image_shape"]) for part in parts):
        raise UserError(f"{', '.join(paths)}: give pictures, one per file")
    images = np.concatenate(parts)
    if settings["config"]["binarize"]:
        noise.binarize(images, 0)
    return images


def load_images(
    settings: dict, path: str, source: str | None = None, keep_train: bool = False
) -> Shown:
    """Load images for a model, in the shape and with the colors of its own.

    settings: those of the model, from the weights file `path`. source: by default
    the model's own data set, of which the held-out images of its classes are shown; of
    others, all are, or those of the test part. If it was trained with --binarize, they
    are binarized, the same in every script. keep_train: whether the training part is
    needed, too.
    Raises UserError as `data.read` does, and if the images have another shape or, for a
    conditional model, no class that it knows.
    """
    config, shape = settings["config"], tuple(settings["image_shape"])
    only = config.get("only") if source is None else None
    source = source or config["data"]
    dataset = data.read(source, format_of(settings))
    if dataset.train.images.shape[1:] != shape:
        problem = f"{source} has images of shape {dataset.train.images.shape[1:]}"
        raise UserError(f"{problem}, but {path} needs {shape}: choose other --data")
    held_out = dataset.checksum == settings["checksum"]
    if held_out:
        dataset = dataset if dataset.test else data.hold_out(dataset)
        if config.get("only") and not only:
            names = ", ".join(map(printable, config["only"]))
            note(f"{path} was trained on {names} only; these are all classes")
    if only:
        dataset = data.keep_classes(dataset, only)
    shown = dataset.test or dataset.train
    train = dataset.train if dataset.test and keep_train else None
    names = dataset.class_names
    if config.get("conditional"):
        known = list(settings["classes"])
        shown = data.know_classes(source, shown, names, known)
        try:
            train = train and data.know_classes(source, train, names, known)
        except UserError:
            note(f"left out the training part of {source}, with unknown labels")
            train = None
        names = known
    if not held_out:
        problem = f"{path} was trained on other images ({config['data']})"
        note(f"{problem}, which may include some of these")
    if dataset.test and not (held_out or keep_train):
        count = len(dataset.train.images)
        note(f"left out the training part of {source}, {count:,} images")
    if config["binarize"]:
        for seed, part in enumerate((train, shown)):
            if part:
                noise.binarize(part.images, seed)
    return Shown(shown.images, shown.labels, shown.names, names, held_out, train)
