"""Parts of a data set, to train on and to test with, and what names say about them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# Words in the names of arrays and folders
PART = r"[xy]?(train|test|val)(?:ing|id|idation|set)?[xy]?"
LABELS = r"y(train|test|val)?|(train|test|val)y|labels?|targets?"
IMAGES = r"x(train|test|val)?|(train|test|val)x|ims?|imgs?|images?|pixels|data"


Labels = np.ndarray | None  # class numbers, (n,), from 0; None if there are none


@dataclass(frozen=True)
class Part:
    """Images, uint8, (n, H, W) or (n, H, W, 3)."""

    images: np.ndarray
    labels: np.ndarray | None  # in a Dataset numbers of classes, from 0
    names: list[str]  # each image's file, or its place in an array

    def inputs(self, labels: bool) -> np.ndarray | dict[str, np.ndarray]:
        """Return what a VAE takes: images or, if it is conditional, labels as well."""
        return {"images": self.images, "labels": self.labels} if labels else self.images


def named(array: str, count: int) -> list[str]:
    """Return names for the rows of an array: x_train[0], …"""
    return [f"{array}[{i}]" for i in range(count)]


def keep(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Move the wanted rows of an array to its front, in place. Return them, a view."""
    for new, old in enumerate(np.flatnonzero(wanted)):
        if new != old:
            rows[new] = rows[old]
    return rows[: np.count_nonzero(wanted)]


def take(part: Part, rows: Sequence[int]) -> Part:
    """Return some images of a part, by their numbers."""
    rows = list(rows)
    labels = None if part.labels is None else part.labels[rows]
    return Part(part.images[rows], labels, [part.names[row] for row in rows])


def select(part: Part, wanted: np.ndarray, in_place: bool = False) -> Part:
    """Return the wanted images of a part. in_place: move them within their array."""
    if not in_place:
        return take(part, np.flatnonzero(wanted))
    images = keep(part.images, wanted)
    labels = None if part.labels is None else part.labels[wanted]
    return Part(images, labels, [part.names[i] for i in np.flatnonzero(wanted)])


def has_word(name: str, pattern: str) -> re.Match | None:
    """Return the first match of a word in a name: x_train has x and train."""
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower()
    matches = (re.fullmatch(pattern, word) for word in re.findall("[a-z]+", words))
    return next(filter(None, matches), None)


def find_part(name: str) -> str | None:
    """Return "train", "test" or "val" if a name says so: x_train, Testing, val2017."""
    match = has_word(name, PART)
    return match and match[1]


def used_parts(parts: Iterable[str]) -> list[str]:
    """Return those of "train", "test" and "val" to use: "val" only without "test"."""
    held_out = "test" if "test" in parts else "val"
    return [part for part in ("train", held_out) if part in parts]


def find_roles(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[str, str | None]]:
    """Return the names of the images and, if there are any, of the labels of each part.

    shapes: of the arrays, by name. Returns {"train": ("x_train", "y_train"), …}, or {}
    if several arrays of a part could be its images.
    """

    def narrow(names: list[str], wanted: Callable) -> list[str]:
        return list(filter(wanted, names)) or names

    roles = {}
    for part in "train", "test", "val":
        names = [name for name in shapes if (find_part(name) or "train") == part]
        # np.savez(path, images, labels) calls them arr_0 and arr_1.
        labels = [n for n in names if has_word(n, LABELS) or n == "arr_1"]
        labels = [name for name in labels if len(shapes[name]) <= 2]
        images = [n for n in names if n not in labels and len(shapes[n]) >= 2]
        images = narrow(images, lambda name: len(shapes[name]) >= 3)
        images = narrow(images, lambda name: has_word(name, IMAGES))
        if len(images) > 1:
            return {}
        if images:
            roles[part] = images[0], labels[0] if labels else None
    return roles
