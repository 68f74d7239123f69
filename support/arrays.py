"""Arrays of any kind as images, uint8, and as labels."""

import math

import numpy as np

from support.errors import UserError, note

ROUNDING = 1e-4  # beyond black and white that is forgiven
BITS = (10, 12, 14, 16)  # that a camera or a scanner may use of 16


def is_square(number: int) -> bool:
    """Return whether so many pixels can be a square image."""
    return number >= 16 and math.isqrt(number) ** 2 == number


def to_images(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array as (n, H, W) or (n, H, W, 3), or raise UserError.

    Rows of pixels whose number is a square become squares.
    """
    shape = array.shape
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} has dtype {array.dtype}: give integers or floats")
    if len(shape) == 4 and shape[3] == 1:
        return to_images(array[..., 0], name)
    if len(shape) == 2 and is_square(shape[1]):
        side = math.isqrt(shape[1])
        note(f"{name} has rows of {shape[1]} pixels: treated as {side}×{side} images")
        return to_images(array.reshape(-1, side, side), name)
    gray = len(shape) == 3 and shape[2] > 4 and not shape[0] == shape[1] != shape[2]
    if 0 in shape or not (gray or len(shape) == 4 and shape[3] == 3):
        raise UserError(f"{name} has shape {shape}: {advise_shape(shape)}")
    return array


def advise_shape(shape: tuple[int, ...]) -> str:
    """Return what to do with an array of a shape that is not one of images."""
    if len(shape) == 4 and shape[1] in (1, 3) and 0 not in shape:
        return "its channels come first, so give np.moveaxis(x, 1, -1)"
    if len(shape) == 4 and shape[3] in (2, 4):
        kept = ":3" if shape[3] == 4 else "0"
        return f"drop the alpha channel, so give x[..., {kept}]"
    if len(shape) == 4 and shape[2] in (1, 3) and 0 not in shape:
        return "its images come last, so give np.moveaxis(x, -1, 0)"
    if len(shape) == 3 and shape[2] in (3, 4) and 0 not in shape:
        return "if it is one image in color, give x[None, ..., :3]"
    if len(shape) == 3 and shape[0] == shape[1] > 4:
        advice = "if its images come last, give np.moveaxis(x, -1, 0)"
        return f"{advice}; if they come first, leave one out, x[1:]"
    if len(shape) == 2 and shape[1] % 3 == 0 and is_square(shape[1] // 3):
        side = math.isqrt(shape[1] // 3)
        pixels = f"x.reshape(-1, {side}, {side}, 3)"
        planes = f"np.moveaxis(x.reshape(-1, 3, {side}, {side}), 1, -1)"
        return f"give {pixels} or, if one color comes after the other, {planes}"
    if len(shape) == 2 and 0 not in shape:
        advice = "if each row is an image, give x.reshape(-1, H, W)"
        return f"{advice}; a table or a time series is not images"
    return "give (n, H, W) or (n, H, W, 3)"


def to_bytes(
    arrays: list[np.ndarray], source: str, bits: int | None = None
) -> tuple[list[np.ndarray], int | None]:
    """Return pixels as uint8, and of how many bits they were, if of more than 8.

    Pixels may be floats from 0 to 1, booleans, integers from 0 to 255, or larger ones
    of 10 to 16 bits; all arrays are scaled alike. Integers of 0 and 1 are taken as
    black and white. bits: of the images of a model. Raises UserError for others.
    """
    integers = [array for array in arrays if array.dtype.kind in "iu"]
    wide = any(array.itemsize > 1 for array in integers)
    high = max((int(array.max()) for array in integers), default=0)
    white = 255
    if high == 1:
        note(f"{source} has only pixels of 0 and 1: treated as black and white")
        white = 1
    elif wide and (bits or 255 < high < 2**16):
        bits = bits or bits_of(high)
        white = white_of(bits)
        note_bits(bits, high)
    scaled = [
        scale(array, white if array.dtype.kind in "iu" else 1, source, bool(bits))
        for array in arrays
    ]
    return scaled, bits


def bits_of(brightest: int) -> int:
    """Return how many bits of 16 a camera uses: the smallest number that is enough."""
    return next(bits for bits in BITS if brightest < 2**bits)


def white_of(bits: int) -> int:
    """Return the highest number of so many bits."""
    return 2**bits - 1


def note_bits(bits: int, brightest: int) -> None:
    """Say how pixels of more than 8 bits were scaled."""
    clipped = ", which was clipped" if brightest > white_of(bits) else ""
    white = f"white is {white_of(bits)} ({bits} bits)"
    note(f"{white}; the brightest pixel is {brightest}{clipped}")


def scale(array: np.ndarray, white: int, source: str, clip: bool) -> np.ndarray:
    """Return 255·array/white as uint8. Raise UserError for pixels beyond 0 to white.

    clip: whether integers may be beyond white.
    """
    if array.dtype == "uint8" and white == 255:
        return array
    low, high = array.min(), array.max()
    if clip and array.dtype.kind in "iu":
        high = min(high, white)
    if not (low >= -ROUNDING and high <= white + ROUNDING):  # NaN, too
        problem = f"{source} has {array.dtype} pixels from {low:g} to {high:g}"
        raise UserError(f"{problem}: {advise_range(array.dtype.kind, low, high)}")
    scaled = np.empty(array.shape, "uint8")
    for i in range(0, len(array), 100):  # so that floats take little memory
        scaled[i : i + 100] = to_uint8(array[i : i + 100], white)
    return scaled


def to_uint8(pixels: np.ndarray, white: int) -> np.ndarray:
    """Return pixels from 0 to white as uint8, from 0 to 255. Clip those beyond."""
    return np.rint(255 * np.clip(pixels / white, 0, 1)).astype("uint8")


def advise_range(kind: str, low: float, high: float) -> str:
    """Return how to get pixels into the range of integers, "i" or "u", or floats."""
    if not np.isfinite([low, high]).all():
        return "replace what is not a number or infinite: np.nan_to_num(x)"
    if kind == "f" and low >= 0:
        return f"divide them by {255 if 64 < high <= 255 else high:g}"
    if kind == "f" and low >= -1 and high <= 1:
        return "give (x + 1) / 2"
    advice = f"give np.interp(x, [{low:g}, {high:g}], [0, 1])"
    return f"{advice}; a table or a time series is not images"


def to_labels(labels: np.ndarray, count: int, name: str) -> np.ndarray | None:
    """Return a label per image, shape (count,), of a column or of one-hot rows.

    Return None for others, such as several labels per image, and say so.
    Raises UserError if their number is another.
    """
    if labels.shape[:1] != (count,):
        shape, wanted = labels.shape, (count,)
        raise UserError(f"{name} has shape {shape}: give {wanted}, a label per image")
    if labels.size == count:
        labels = labels.reshape(count)
        if labels.dtype.kind == "S":
            return np.char.decode(labels, "utf-8", "replace")
        if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
            return labels.astype(int)
        return labels
    if labels.dtype.kind in "biuf":
        rows = labels.reshape(count, -1)
        if np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all():
            return rows.argmax(axis=1)
    note(f"left out {name} of shape {labels.shape}: give a class per image, or one-hot")
    return None
