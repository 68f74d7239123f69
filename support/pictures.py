"""What the pictures share: the latent plane, the colors of classes, tiling, saving."""

import itertools
import pathlib
import statistics
import warnings
import webbrowser
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
from matplotlib import patches, patheffects
from matplotlib.figure import Figure
from scipy import ndimage

from support import weights
from support.cli import UserError

# Digits that lie side by side, such as 4, 7 and 9, or 3, 5 and 8, have colors that
# people who lack one kind of cone tell apart as well.
COLORS = (
    *("#11823b", "#6f4518", "#9a9a9a", "#f97f0f", "#e6194b"),
    *("#1f1f6e", "#c05be0", "#ffc810", "#2cc5ea", "#3566e6"),
)
ENDINGS = (".png", ".jpg", ".svg", ".pdf", ".eps", ".tif", ".webp")  # of pictures
LEGEND = 60  # classes at most that are named
OUTLINE = [patheffects.withStroke(linewidth=3, foreground="white")]  # of text on points


def class_colors(classes: int) -> np.ndarray:
    """Return a color per class, RGBA."""
    if classes <= 10:
        return mpl.colors.to_rgba_array(COLORS)
    return mpl.colormaps["gist_rainbow"](np.linspace(0, 1, classes))


def quantiles(size: int) -> np.ndarray:
    """Return the middles of `size` equally probable pieces of N(0, 1), ascending."""
    prior = statistics.NormalDist()
    return np.array([prior.inv_cdf((i + 0.5) / size) for i in range(size)])


def plane_grid(values: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the points z of a square grid, row by row from the top left.

    values: coordinates along both axes, ascending, shape (size,).
    directions: where right and up point in latent space, shape (2, latent_dim).
    """
    right, up = np.meshgrid(values, values[::-1])
    return np.float32(np.stack([right.ravel(), up.ravel()], axis=1) @ directions)


def rank_dims(decode: Callable, latent_dim: int) -> list[int]:
    """Return the latent dimensions, ordered by how much they change the image.

    The change is the mean squared difference between the images at ±1 and at 0.
    """
    steps = np.eye(latent_dim, dtype="float32")
    origin, *images = decode(np.concatenate([0 * steps[:1], steps, -steps]))
    changes = np.square(images - origin).reshape(2, latent_dim, -1).mean(axis=(0, 2))
    return np.argsort(-changes, kind="stable").tolist()


def check_plane(latent_dim: int) -> None:
    """Raise UserError if there is only one latent dimension."""
    if latent_dim == 1:
        raise UserError("one latent dimension makes no plane: train with two or more")


def find_reach(points: np.ndarray) -> float:
    """Return the limit of axes that show all but the outermost 0.5 % of the points."""
    return max(2.5, 1.03 * float(np.quantile(np.abs(points).max(axis=1), 0.995)))


def place_names(points, labels, names: Sequence[str], reach: float, size: float):
    """Return (class, x, y) of each name: where its class is densest, without overlaps.

    A class of 50 points or more that is dense in two distant places is named in both.
    size: of the letters, in the units of the points.
    """
    places, limits, bins = [], [[-reach, reach]] * 2, 60
    for again, label in itertools.product([False, True], range(len(names))):
        own = points[labels == label]
        density, edges, _ = np.histogram2d(*own.T, bins, range=limits)
        density = ndimage.gaussian_filter(density, 1.5)
        least = density.max() / 2 if again else 0
        count = 0 if again and len(own) < 50 else np.count_nonzero(density > least)
        for place in np.argsort(-density, axis=None)[:count]:
            x, y = edges[list(np.unravel_index(place, density.shape))] + reach / bins
            if max(abs(x) + 0.35 * size * len(names[label]), abs(y) + size) > reach:
                continue
            for other, a, b in places:
                width = 0.35 * size * (len(names[label]) + len(names[other]))
                near = other == label and np.hypot(x - a, y - b) < reach / 2
                if near or (abs(x - a) < width and abs(y - b) < 1.3 * size):
                    break
            else:
                places.append((label, x, y))
                break
    return places


def draw_clusters(axes, points, labels, class_names, reach, area=10, size=11):
    """Draw points of the latent plane, colored by class, and the prior's 1σ and 2σ.

    points: shape (n, 2); later ones lie on top. labels: class numbers, shape (n,), or
    None. reach: of the axes, on all sides of the origin. area: of a point; size: of the
    names, in points. Returns the PathCollection.
    """
    classes = 0 if labels is None else len(class_names)
    colors = class_colors(classes)
    colors = colors[9:] if labels is None else colors[labels]
    style = {"ha": "center", "va": "center", "path_effects": OUTLINE}
    for sigmas in 1, 2:
        axes.add_patch(patches.Circle((0, 0), sigmas, fill=False, alpha=0.4))
        angles = np.radians(np.arange(0, 360, 15))
        spots = sigmas * np.stack([np.sin(angles), np.cos(angles)], axis=1)
        distances = np.linalg.norm(points - spots[:, None], axis=-1)
        x, y = spots[(distances < reach / 12).sum(axis=1).argmin()]
        axes.text(x, y, f"{sigmas}σ" if reach < 10 else "", alpha=0.6, **style)
    if 0 < classes <= LEGEND:
        size -= 3 * (max(map(len, class_names)) > 3)  # long names are smaller
        letter = reach * size / (axes.bbox.width / axes.figure.dpi * 36)
        for label, x, y in place_names(points, labels, class_names, reach, letter):
            name = class_names[label]
            axes.text(x, y, name, weight="bold", size=size, parse_math=False, **style)
    axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    return axes.scatter(*points.T, c=colors, s=area, alpha=0.6, linewidths=0)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Return images as one picture, row by row: (n, H, W, …) → (rows·H, columns·W, …).

    The last row is filled up with zeros.
    """
    count, height, width, *channels = images.shape
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, *images.shape[1:]), images.dtype)
    filled[:count] = images
    grid = filled.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *channels)


def check_picture(path: str, show: bool = False) -> None:
    """Raise UserError if no picture can be written to `path`, or shown."""
    if pathlib.Path(path).suffix not in ENDINGS:
        raise UserError(f"--output {path}: end the name in one of {' '.join(ENDINGS)}")
    weights.check_writable(path)
    try:
        webbrowser.get() if show else None
    except webbrowser.Error:
        raise UserError(f"no browser to show it: open {path} without --show") from None


def save_picture(figure: Figure, path: str, show: bool = False) -> None:
    """Write a figure to `path`; open it in the browser if `show`."""
    with weights.replacing(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # boxes for what fonts lack
        figure.savefig(part, dpi=150)
        if part.suffix == ".png":
            image = PIL.Image.open(part).convert("RGB")
            small = image.quantize(256)
            lost = PIL.ImageChops.difference(image, small.convert("RGB"))
            visible = max(PIL.ImageStat.Stat(lost).mean) > 1  # of 255
            (image if visible else small).save(part, optimize=True)
    print(f"wrote {path}")
    if show:
        webbrowser.open(pathlib.Path(path).resolve().as_uri())
