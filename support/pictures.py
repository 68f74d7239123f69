"""What the pictures share: colours of classes, tiling, saving."""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from support import files

LEGEND = 60  # classes; of more than that, a legend would be larger than the plane


def class_colours(classes):
    """Colours that tell classes apart, as RGBA, at least one."""
    if classes <= 10:
        return mpl.colormaps["tab10"](np.arange(10))
    return mpl.colormaps["gist_rainbow"](np.linspace(0, 1, classes))


def tile(images, columns):
    """Images, row by row, as one picture: (n, H, W, …) → (rows·H, columns·W, …).

    The last row is filled with zeros.
    """
    count, height, width, *channels = images.shape
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, *images.shape[1:]), images.dtype)
    filled[:count] = images
    grid = filled.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *channels)


def save_picture(figure, path, show=False):
    """Writes a matplotlib Figure to `path`, and shows it in a window if asked to.

    Raises ValueError where there is no such format, or no window.
    """
    if show and plt.get_backend().lower() == "agg":
        raise ValueError(f"no window can be opened here: open {path} without --show")
    with files.replacing(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # Boxes stand for what fonts lack.
        try:
            figure.savefig(part, dpi=150)
        except RuntimeError as error:  # such as LaTeX that is not there
            raise ValueError(f"matplotlib can't draw {path}: {error}") from error
    print(f"wrote {path}")
    if show:
        plt.show()
