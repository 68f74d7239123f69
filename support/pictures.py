"""What the pictures share: the plane, colours of classes, tiling, saving."""

import math
import statistics
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


# The plane


def check_plane(latent_dim):
    """Raises ValueError where there is one latent dimension only."""
    if latent_dim == 1:
        raise ValueError("one latent dimension makes no plane: train with two or more")


def quantiles(size):
    """`size` values that cut N(0, 1) into pieces of equal probability, ascending.

    They are the middles, by probability, of the pieces: as the prior is N(0, I), the
    grid of them shows each equally probable part of the latent plane once.
    """
    prior = statistics.NormalDist()
    return np.array([prior.inv_cdf((i + 0.5) / size) for i in range(size)])


def plane_grid(values, latent_dim, dims=(0, 1)):
    """The points of a square grid in the latent plane, row by row from the top left.

    values: the coordinates along either axis, ascending, shape (size,).
    dims: the latent dimensions that grow to the right and upward; all others are 0.
    Returns z of shape (size², latent_dim).
    """
    right, up = np.meshgrid(values, values[::-1])  # The top row has the largest.
    z = np.zeros((values.size**2, latent_dim), "float32")
    z[:, dims[0]] = right.ravel()
    z[:, dims[1]] = up.ravel()
    return z


def leading_dims(decode, latent_dim):
    """The two latent dimensions that change the decoded image most, ascending.

    decode: makes images of z, shape (n, latent_dim). The change is the mean square of
    the difference between z = ±1 in one dimension and z = 0.
    Raises ValueError where there is one dimension only.
    """
    check_plane(latent_dim)
    steps = np.eye(latent_dim, dtype="float32")
    origin, *images = decode(np.concatenate([np.zeros_like(steps[:1]), steps, -steps]))
    changes = np.square(images - origin).reshape(2, latent_dim, -1).mean(axis=(0, 2))
    return sorted(np.argsort(changes)[-2:].tolist())


def draw_clusters(axes, points, labels, class_names, reach, area):
    """Draws points of the latent plane, coloured by class, and the prior's circles.

    points: shape (n, 2), of which the later ones lie on top; labels: class numbers,
    shape (n,), or None; class_names: class_names[label] is what the legend calls a
    class; reach: of the axes, on all sides of the origin; area: of a point.
    Returns the points as matplotlib's PathCollection.
    """
    classes = 0 if labels is None else len(class_names)
    colours = class_colours(classes)
    drawn = axes.scatter(
        *points.T,
        c=colours[:1] if labels is None else colours[labels],
        s=area,
        alpha=0.5,
        linewidths=0,
    )
    for sigmas, name in (1, "1σ of the prior"), (2, "2σ"):
        axes.add_patch(plt.Circle((0, 0), sigmas, fill=False, alpha=0.4))
        axes.text(0, sigmas, name, alpha=0.7, ha="center", va="bottom")
    if 0 < classes <= LEGEND:
        for colour in colours[:classes]:
            axes.scatter([], [], color=colour, label="class")
        legend = axes.legend(
            title="class",
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            ncols=math.ceil(classes / 30),
        )
        # Afterwards, as matplotlib leaves out names that start with an underscore.
        for text, name in zip(legend.texts, class_names, strict=True):
            text.set_text(name if len(name) <= 30 else name[:29] + "…")
            text.set_parse_math(False)  # A $ is no formula.
    # The origin in the middle, as in the grid that generate_grid.py draws.
    axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    return drawn


# What any picture needs


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
        try:
            figure.savefig(part, dpi=150)
        except RuntimeError as error:  # such as LaTeX that is not there
            raise ValueError(f"matplotlib can't draw {path}: {error}") from error
    print(f"wrote {path}")
    if show:
        plt.show()
