"""What the pictures share: the latent plane, the colors of classes, tiling, saving."""

import contextlib
import io
import pathlib
import warnings
import webbrowser
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager, patches, patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage, special

from support import files
from support.errors import UserError, explain, note
from support.parts import Labels

# Color-blind readers can tell neighbors such as 4 and 9 apart, too.
COLORS = [
    *["#11823b", "#6f4518", "#9a9a9a", "#f97f0f", "#e6194b"],
    *["#1f1f6e", "#c05be0", "#ffc810", "#2cc5ea", "#3566e6"],
]
LEGEND = 60  # name the classes only if there are at most this many
GRID = 3.0  # of the prior's σ, to each side: the square that generate_grid.py draws
OUTLINE = [patheffects.withStroke(linewidth=3, foreground="white")]  # of text on points


def class_colors(classes: int) -> np.ndarray:
    """Return a color per class, RGBA."""
    if classes <= 10:
        return mpl.colors.to_rgba_array(COLORS)
    return mpl.colormaps["gist_rainbow"](np.linspace(0, 1, classes))


def quantiles(size: int) -> np.ndarray:
    """Return the medians of `size` equally probable intervals of N(0, 1), ascending."""
    return special.ndtri((np.arange(size) + 0.5) / size)


def plane_grid(values: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the points z of a square grid, row by row from the top left.

    values: coordinates along both axes, ascending, shape (size,).
    directions: where right and up point in latent space, shape (2, latent_dim).
    """
    right, up = np.meshgrid(values, values[::-1])
    return np.float32(np.stack([right.ravel(), up.ravel()], axis=1) @ directions)


def check_plane(latent_dim: int) -> None:
    """Raise UserError if there is only one latent dimension."""
    if latent_dim == 1:
        raise UserError("this VAE has only one latent dimension: train with two")


def find_plane(z_mean: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the plane that pictures show, (2, latent_dim), and its axes' names.

    Of more than two latent dimensions, it is the plane in which the points z_mean vary
    most, of the two principal components. It passes through the origin, not the mean,
    so that the prior keeps its place and its shape. A point's coordinates in the plane
    are z_mean @ plane.T. Raises UserError if the points do not span a plane.
    """
    check_plane(z_mean.shape[1])
    if z_mean.shape[1] == 2:
        return np.eye(2, dtype="float32"), ["z[0]", "z[1]"]
    if len(z_mean) < 2 or not np.ptp(z_mean, axis=0).any():
        raise UserError("all images lie at one point: no plane to draw")
    centered = z_mean - z_mean.mean(axis=0, dtype=float)
    _, spread, directions = np.linalg.svd(centered, full_matrices=False)
    shares = spread**2 / (spread**2).sum()
    names = [
        f"principal component {i + 1} ({shares[i]:.0%} of the variance of z_mean)"
        for i in range(2)
    ]
    return np.float32(directions[:2]), names


def find_reach(points: np.ndarray) -> float:
    """Return the limit of axes that show all but the outermost 0.5 % of the points."""
    return max(2.5, 1.03 * float(np.quantile(np.abs(points).max(axis=1), 0.995)))


def set_title(axes: Axes, title: str) -> None:
    """Set a title in which names of the user's may stand."""
    fonts = fonts_for("".join(title.splitlines()))
    axes.set_title(title, parse_math=False, family=fonts)


def place_names(
    points: np.ndarray, labels: Labels, names: Sequence[str], reach: float, size: float
) -> list[tuple[str, float, float]]:
    """Return (name, x, y): where each class is densest and, with room, a second spot.

    Names do not overlap. points: shape (n, 2). reach: the axes' limit. size: of the
    letters, in the units of the points.
    """
    places = []
    x, y = reach * ((2 * np.mgrid[:60, :60] + 1) / 60 - 1)  # the bins' centers
    width = 0.7 * size * max(map(len, names), default=0)
    free = (np.abs(x) + width / 2 < reach) & (np.abs(y) + size < reach)
    for share in 0, 0.5:  # of the class's peak density that a place needs
        for label, name in enumerate(names):
            own = points[labels == label]
            counts, *_ = np.histogram2d(*own.T, 60, range=[[-reach, reach]] * 2)
            density = ndimage.gaussian_filter(counts, 1.5)
            density *= free & (density >= share * density.max())
            for other, a, b in places:
                density[(np.hypot(x - a, y - b) < reach / 2) & (other == name)] = 0
            if density.any():
                a, b = x.flat[density.argmax()], y.flat[density.argmax()]
                places.append((name, a, b))
                free &= (np.abs(x - a) > width) | (np.abs(y - b) > 1.3 * size)
    return places


def fonts_for(text: str) -> list[str]:
    """Return matplotlib's font and, for characters that it lacks, others with them.

    Say on stderr if no installed font has them.
    """
    fonts = font_manager.fontManager.ttflist
    fonts = sorted(fonts, key=lambda font: font.name != "DejaVu Sans")
    families, missing = [], set(map(ord, text))
    for font in fonts:
        if missing and not font.name.startswith("Last Resort"):  # has only boxes
            with contextlib.suppress(RuntimeError):  # an unusual kind of font
                known = font_manager.get_font(font.fname).get_charmap().keys()
                families += [font.name] * bool(missing & known)
                missing -= known
    if missing:
        some = "".join(map(chr, sorted(missing)[:5]))
        note(f"no font for {some}: install one, such as Noto Sans CJK for Chinese")
    return families


def draw_clusters(
    axes: Axes,
    points: np.ndarray,
    labels: Labels,
    class_names: Sequence[str] | None,
    reach: float,
    area: float = 10,
    size: float = 11,
) -> PathCollection:
    """Draw points of the latent plane, colored by class, and the prior's 1σ and 2σ.

    points: shape (n, 2). labels: class numbers, (n,), or None. reach: the axes' limit.
    area: of a point; size: of the names, in points. Returns the points.
    """
    style = {"ha": "center", "va": "center", "path_effects": OUTLINE}
    for sigmas in 1, 2:
        axes.add_patch(patches.Circle((0, 0), sigmas, fill=False, alpha=0.4))
        angles = np.radians(np.arange(0, 360, 15))
        spots = sigmas * np.stack([np.sin(angles), np.cos(angles)], axis=1)
        distances = np.linalg.norm(points - spots[:, None], axis=-1)
        x, y = spots[(distances < reach / 12).sum(axis=1).argmin()]
        axes.text(x, y, f"{sigmas}σ" if reach < 10 else "", alpha=0.6, **style)
    colors = COLORS[-1] if labels is None else class_colors(len(class_names))[labels]
    if labels is not None and len(class_names) <= LEGEND:
        size -= 3 * (max(map(len, class_names)) > 3)  # long names are smaller
        letter = reach * size / (axes.bbox.width / axes.figure.dpi * 36)
        style |= {"family": fonts_for("".join(class_names)), "weight": "bold"}
        for name, x, y in place_names(points, labels, class_names, reach, letter):
            axes.text(x, y, name, size=size, parse_math=False, **style)
    axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    return axes.scatter(*points.T, c=colors, s=area, alpha=0.6, linewidths=0)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Tile images row by row: (n, H, W, …) → (rows·H, columns·W, …), the rest black."""
    black = np.zeros((-len(images) % columns, *images.shape[1:]), images.dtype)
    rows = np.concatenate([images, black]).reshape(-1, columns, *images.shape[1:])
    return np.vstack([np.hstack(row) for row in rows])


def save_images(images: np.ndarray, folder: str) -> None:
    """Write images, in [0, 1], as folder/001.png, …; make the folder if necessary."""
    with explain(f"cannot write into {folder}"):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    digits = len(str(len(images)))
    for number, image in enumerate(images, 1):
        path = pathlib.Path(folder, f"{number:0{digits}}.png")
        with files.replacing(path) as temporary:
            Image.fromarray(np.uint8(np.rint(255 * image))).save(temporary, "png")
    print(f"wrote {len(images):,} images to {folder}")


def save_picture(figure: Figure, path: str, show: bool = False) -> None:
    """Write a figure to `path`; open it in the browser if `show`."""
    with files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # missing ones become boxes
        buffer = io.BytesIO()  # Pillow would hide that a disk is full.
        figure.savefig(buffer, format=temporary.suffix[1:], dpi=150)
        temporary.write_bytes(buffer.getvalue())
    print(f"wrote {path}")
    if show:
        webbrowser.open(pathlib.Path(path).resolve().as_uri())
