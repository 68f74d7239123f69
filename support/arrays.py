"""Arrays of images and labels: their pixels, their classes, and what is held out."""

import numpy as np

from support.errors import UserError, explain

Arrays = dict[str, np.ndarray]  # some of x_train, y_train, x_test, y_test


def printable(text: object) -> str:
    """Return str(text) in one line, without control characters."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def assemble(source: str, arrays: Arrays) -> tuple:
    """Return x_train, y_train, x_test, y_test and class_names, as in a Dataset.

    Without x_test, hold out every fifth image.
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
        return x_train, None, x_test, None, None
    problem = f"y_train and y_test in {source} do not fit together"
    with explain(problem, kinds=(TypeError, ValueError)):
        classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    y_train = None if y_train is None else numbers[: len(x_train)]
    y_test = None if y_test is None else numbers[-len(x_test) :]
    names = [printable(label) for label in classes]
    return x_train, y_train, x_test, y_test, names


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
