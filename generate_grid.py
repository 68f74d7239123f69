"""Draw what the decoder generates all over the latent space.

    python generate_grid.py                    the plane, in equal steps from -3 to 3
    python generate_grid.py --quantiles        the plane, in steps of equal probability
    python generate_grid.py --random           random points of the prior N(0, I)
    python generate_grid.py --random --count 50 --files new/      a file of each, too
    python generate_grid.py --traverse         one latent dimension per row

The plane is that of plot_latent.py: an image here belongs to the cluster at the same
place there. Its two coordinates grow to the right and upward.

A VAE that was trained with --conditional draws every class:

    python generate_grid.py                    a row per class, a column per random z
    python generate_grid.py --image 3 5 8      every class in the style of these images
    python generate_grid.py --label 7          the plane of one class
"""

from dataclasses import dataclass

from support import cli
from support.cli import AtLeast0, AtLeast1
from support.errors import UserError
from support.trained import NewPicture, Trained

MAX_SIZE = 200  # then an image is 4 pixels of the picture
NO_IMAGES = "--data: this picture needs no images, so leave it out"


@cli.options(__doc__)
@dataclass
class Options(Trained):
    output: NewPicture = "grid.png"  # the picture to write; its ending is the format
    size: AtLeast1[int] | None = None  # images per side; 20, or 13 to traverse
    range: AtLeast0[float] | None = None  # half the side of the square, by default 3
    quantiles: bool = False  # make steps equally probable under the prior instead
    dims: tuple[AtLeast0[int], AtLeast0[int]] | None = None  # two to scan, others at 0
    random: bool = False  # decode random z instead of a plane
    count: AtLeast1[int] | None = None  # of random images; by default size × size
    seed: AtLeast0[int] = 0  # of the random z
    label: str | None = None  # the class to draw, by name (--conditional)
    files: cli.NewFolder | None = None  # also write each random image to this folder
    traverse: bool = False  # scan every dimension by itself, the most used first
    image: tuple[AtLeast0[int], ...] | None = None  # numbers of images to start from
    show: bool = False  # open the picture in the browser

    def __post_init__(self) -> None:
        """Raise UserError for options that do not go together."""
        if self.random + self.traverse + self.quantiles + (self.range is not None) > 1:
            raise UserError("choose one of --random, --traverse, --range, --quantiles")
        if self.dims and (self.random or self.traverse):
            raise UserError("--dims names a plane: leave out --random and --traverse")
        if (self.files or self.count) and not self.random:
            raise UserError("--files and --count are for random images: add --random")
        if self.image and (self.random or self.plane_named):
            problem = "--image goes with --traverse or a conditional VAE"
            raise UserError(f"{problem}: leave out the other options")
        if self.image and self.label is not None and not self.traverse:
            raise UserError("--image draws every label: leave out --label")
        if self.image and self.traverse and len(self.image) > 1:
            raise UserError("--traverse starts from one --image: leave out the others")
        if self.data and (self.random or self.traverse and not self.image):
            raise UserError(NO_IMAGES)
        if self.size and self.size > MAX_SIZE:
            raise UserError(f"--size {self.size}: give {MAX_SIZE} or less")
        if self.count and self.count > MAX_SIZE**2:
            raise UserError(f"--count {self.count}: give {MAX_SIZE**2} or less")

    @property
    def plane_named(self) -> bool:
        """Return whether an option asks for a plane."""
        return bool(self.quantiles or self.dims or self.range is not None)


import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from support import pictures
from support.parts import Part, take
from support.shown import load_images
from support.styles import draw_like, draw_rows, draw_styles
from vae_mnist import VAE, load_vae


def rank_dims(decode: Callable, latent_dim: int) -> list[int]:
    """Return the latent dimensions by how much ±1 changes the image, the most first."""
    steps = np.eye(latent_dim, dtype="float32")
    origin, *images = decode(np.concatenate([0 * steps[:1], steps, -steps]))
    changes = np.square(images - origin).reshape(2, latent_dim, -1).mean(axis=(0, 2))
    return np.argsort(-changes, kind="stable").tolist()


def scan(
    decode: Callable,
    values: np.ndarray,
    plane: np.ndarray,
    axis_names: Sequence[str],
    label: str = "",
) -> Figure:
    """Return a Figure of the decoded points of a square grid in a plane.

    decode: returns the images of z, (n, latent_dim). values: the grid's coordinates,
    ascending. plane: where right and up point in latent space, (2, latent_dim).
    label: what the title says about their class.
    """
    size = len(values)
    images = decode(pictures.plane_grid(values, plane))
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(
        pictures.tile(images, size),
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(0, size, 0, size),  # in images, from the bottom left corner
        aspect=images.shape[1] / images.shape[2],
    )
    shown = np.linspace(0, size - 1, min(size, 10)).round().astype(int)
    names = [f"{values[i]:.2f}" for i in shown]
    axes.set_xticks(shown + 0.5, names)
    axes.set_yticks(shown + 0.5, names)
    title = f"{size} × {size} decoded points of the latent plane{label}"
    if plane.shape[1] > 2:
        title += f"\nthrough 0, in a latent space of {plane.shape[1]} dimensions"
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    pictures.set_title(axes, title)
    return figure


def draw_z(count: int, latent_dim: int, seed: int = 0) -> np.ndarray:
    """Return random z ~ N(0, I), (count, latent_dim)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, latent_dim), "float32")


def draw_labels(counts: dict[str, int], size: int, seed: int) -> np.ndarray:
    """Return random labels, as frequent as in training. counts: images by class."""
    shares = np.array(list(counts.values())) / sum(counts.values())
    return np.random.default_rng([seed, 1]).choice(len(shares), size, p=shares)


def show_samples(images: np.ndarray, size: int, label: str = "") -> Figure:
    """Return a Figure of samples, `size` to a row."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(pictures.tile(images, size), cmap="gray", vmin=0, vmax=1)
    title = f"{len(images):,} draws of z ~ N(0, I){label}, decoded: each pixel's"
    axes.set(xticks=[], yticks=[])
    pictures.set_title(axes, f"{title} probability")
    return figure


def traverse(
    decode: Callable, latent_dim: int, size: int, z: np.ndarray | float, start: str
) -> Figure:
    """Return a Figure of one row per latent dimension, which goes from -3 to 3.

    The most used dimension is on top. decode: returns the images of z. z: where the
    other dimensions stay, shape (latent_dim,); start: what the title calls that.
    """
    order = rank_dims(decode, latent_dim)
    values = np.linspace(-pictures.GRID, pictures.GRID, size)
    points = np.zeros((latent_dim, size, latent_dim), "float32") + np.float32(z)
    for row, dimension in enumerate(order):
        points[row, :, dimension] = values
    images = decode(points.reshape(-1, latent_dim))
    title = f"one latent dimension per row, with the others at {start}"
    figure = draw_rows(images, [f"z[{i}]" for i in order], title)
    shown = np.linspace(0, size - 1, min(size, 7))
    names = [f"{x:g}" for x in np.interp(shown, range(size), values)]
    figure.axes[0].set_xticks(shown + 0.5, names)
    return figure


def find_label(options: Options, vae: VAE) -> int | None:
    """Return the number of the class that --label names.

    Raises UserError if it is not one of the model's, or if it is missing.
    """
    name, known = options.label, vae.class_names
    if not known:
        if name is not None:
            raise UserError("--label: this VAE was trained without --conditional")
        if options.image and not options.traverse:
            raise UserError("--image is where --traverse starts: add --traverse")
    elif name is None and options.plane_named:
        raise UserError(f"which class? Add --label with one of {', '.join(known)}")
    elif name is not None and name not in known:
        raise UserError(f"there is no class {name}: choose from {', '.join(known)}")
    return None if name is None else known.index(name)


def choose_plane(
    options: Options, vae: VAE, settings: dict
) -> tuple[np.ndarray, list[str]]:
    """Return the plane to scan, (2, latent_dim), and its axes' names.

    Raises UserError if --dims are not two of the latent dimensions.
    """
    latent_dim = vae.config.latent_dim
    pictures.check_plane(latent_dim)
    if latent_dim > 2 and not options.dims:
        shown = load_images(settings, options.weights, options.data)
        return pictures.find_plane(vae.encode(shown.images, shown.labels)[0])
    if options.data:
        raise UserError(NO_IMAGES)
    i, j = options.dims or (0, 1)
    if max(i, j) >= latent_dim or i == j:
        problem = f"--dims {i} {j}: this VAE has {latent_dim} latent dimensions"
        raise UserError(f"{problem}, from 0: choose two of them")
    return np.eye(latent_dim, dtype="float32")[[i, j]], [f"z[{i}]", f"z[{j}]"]


def load_chosen(options: Options, settings: dict) -> Part:
    """Return the images that --image names. Raises UserError if there are fewer."""
    shown = load_images(settings, options.weights, options.data)
    last = len(shown.images) - 1
    if beyond := [number for number in options.image if number > last]:
        raise UserError(f"--image {beyond[0]}: choose from 0 to {last}")
    return take(shown, options.image)


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    label = find_label(options, vae)
    named = "" if label is None else f", label {options.label}"
    latent_dim = vae.config.latent_dim
    size = options.size or (13 if options.traverse else 20)

    def decode(z):
        return vae.decode(z, label)

    if options.random:
        count = options.count or size**2
        size = options.size or math.ceil(count**0.5)
        labels = label
        if vae.class_names and label is None:
            labels = draw_labels(settings["classes"], count, options.seed)
        images = vae.decode(draw_z(count, latent_dim, options.seed), labels)
        if options.files:
            pictures.save_images(images, options.files)
        figure = show_samples(images, size, named)
    elif options.traverse:
        z, start = 0, "0"
        if options.image:
            chosen = load_chosen(options, settings)
            [z], _ = vae.encode(chosen.images, chosen.labels)
            start = f"z_mean of image {options.image[0]}"
            if label is None and vae.class_names:
                label = chosen.labels[0]
        elif label is None and vae.class_names:
            label = 0
        if label is not None:
            start += f", label {vae.class_names[label]}"
        figure = traverse(decode, latent_dim, size, z, start)
    elif options.image:
        figure = draw_like(vae, load_chosen(options, settings), options.image)
    elif vae.class_names and label is None:
        if options.data:
            raise UserError(NO_IMAGES)
        figure = draw_styles(vae, draw_z(size, latent_dim, options.seed))
    else:
        reach = pictures.GRID if options.range is None else options.range
        values = np.linspace(-reach, reach, size)
        if options.quantiles:
            values = pictures.quantiles(size)
        plane = choose_plane(options, vae, settings)
        figure = scan(decode, values, *plane, named)
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, Options)
