"""What the pictures share: colours of classes, tiling, saving."""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from support import files

# Ten colours that differ in lightness by 4 of CIE L* or more, and that also those tell
# apart who lack one kind of cone: found by a search that simulates them (Machado et al.
# 2009). Digits that lie side by side, such as 4, 7 and 9, got very different ones.
TEN = "#743ffa #e9446c #17e4b5 #0f892f #f79348 #f8d406 #57a9b8 #c8b3f3 #bf6bed #b0078f"
LEGEND = 60  # classes; of more than that, a legend would be larger than the plane


def class_colours(classes):
    """Colours that tell classes apart, as RGBA, at least one."""
    if classes <= 10:
        return mpl.colors.to_rgba_array(TEN.split())
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
        figure.savefig(part, dpi=150, format=part.suffix[1:])
    print(f"wrote {path}")
    if show:
        plt.show()
