"""Draw what the decoder generates all over the latent space.

    python generate_grid.py                    the plane, in equal steps from -3 to 3
    python generate_grid.py --quantiles        the plane, in steps of equal probability
    python generate_grid.py --random           random points of the prior N(0, I)
    python generate_grid.py --random --count 50 --files new/      a file of each, too
    python generate_grid.py --traverse         one latent dimension per row

The plane is that of plot_latent.py: an image here belongs to the cluster at the same
place there. Its two coordinates grow to the right and upward.
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
    files: cli.NewFolder | None = None  # also write each random image to this folder
    traverse: bool = False  # scan every dimension by itself, the most used first
    image: AtLeast0[int] | None = None  # number of the image to traverse from
    show: bool = False  # open the picture in the browser

    def __post_init__(self) -> None:
        """Raise UserError for options that do not go together."""
        if self.random + self.traverse + self.quantiles + (self.range is not None) > 1:
            raise UserError("choose one of --random, --traverse, --range, --quantiles")
        if self.dims and (self.random or self.traverse):
            raise UserError("--dims names a plane: leave out --random and --traverse")
        if (self.files or self.count) and not self.random:
            raise UserError("--files and --count are for random images: add --random")
        if self.image is not None and not self.traverse:
            raise UserError("--image is where --traverse starts: add --traverse")
        if self.data and (self.random or self.traverse and self.image is None):
            raise UserError(NO_IMAGES)
        if self.size and self.size > MAX_SIZE:
            raise UserError(f"--size {self.size}: give {MAX_SIZE} or less")
        if self.count and self.count > MAX_SIZE**2:
            raise UserError(f"--count {self.count}: give {MAX_SIZE**2} or less")


import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from support import pictures
from support.shown import load_images
from vae_mnist import VAE, load_vae


def rank_dims(decode: Callable, latent_dim: int) -> list[int]:
    """Return the latent dimensions by how much ±1 changes the image, the most first."""
    steps = np.eye(latent_dim, dtype="float32")
    origin, *images = decode(np.concatenate([0 * steps[:1], steps, -steps]))
    changes = np.square(images - origin).reshape(2, latent_dim, -1).mean(axis=(0, 2))
    return np.argsort(-changes, kind="stable").tolist()


def scan(
    decode: Callable, values: np.ndarray, plane: np.ndarray, axis_names: Sequence[str]
) -> Figure:
    """Return a Figure of the decoded points of a square grid in a plane.

    decode: returns the images of z, (n, latent_dim). values: the grid's coordinates,
    ascending. plane: where right and up point in latent space, (2, latent_dim).
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
    title = f"{size} × {size} decoded points of the latent plane"
    if plane.shape[1] > 2:
        title += f"\nthrough 0, in a latent space of {plane.shape[1]} dimensions"
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1], title=title)
    return figure


def sample(vae: VAE, count: int, seed: int = 0) -> np.ndarray:
    """Return images decoded from random z ~ N(0, I), in [0, 1]."""
    rng = np.random.default_rng(seed)
    return vae.decode(rng.standard_normal((count, vae.config.latent_dim), "float32"))


def show_samples(images: np.ndarray, size: int) -> Figure:
    """Return a Figure of samples, `size` to a row."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(pictures.tile(images, size), cmap="gray", vmin=0, vmax=1)
    title = f"{len(images):,} draws of z ~ N(0, I), decoded: each pixel's probability"
    axes.set(title=title, xticks=[], yticks=[])
    return figure


def traverse(
    vae: VAE, size: int = 13, z: np.ndarray | None = None, start: str = "0"
) -> Figure:
    """Return a Figure of one row per latent dimension, which goes from -3 to 3.

    The most used dimension is on top. z: where the others stay, shape (latent_dim,), by
    default at 0; start: what the title calls that.
    """
    latent_dim = vae.config.latent_dim
    order = rank_dims(vae.decode, latent_dim)
    values = np.linspace(-pictures.GRID, pictures.GRID, size)
    points = np.zeros((latent_dim, size, latent_dim), "float32")
    points += 0 if z is None else z
    for row, dimension in enumerate(order):
        points[row, :, dimension] = values
    images = vae.decode(points.reshape(-1, latent_dim))
    height, width = images.shape[1:3]
    cell = 7 / size  # inches that an image is wide
    tall = min(0.8 + cell * latent_dim * height / width, 60)
    figure = Figure(figsize=(8, tall), layout="constrained")
    axes = figure.subplots()
    axes.imshow(
        pictures.tile(images, size),
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(0, size, latent_dim, 0),
        aspect=height / width,
    )
    axes.set_yticks(np.arange(latent_dim) + 0.5, [f"z[{i}]" for i in order])
    shown = np.linspace(0, size - 1, min(size, 7))
    names = [f"{x:g}" for x in np.interp(shown, range(size), values)]
    axes.set_xticks(shown + 0.5, names)
    axes.tick_params(length=0)
    axes.set_title(f"one latent dimension per row, with the others at {start}")
    return figure


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
        return pictures.find_plane(vae.encode(shown.images)[0])
    if options.data:
        raise UserError(NO_IMAGES)
    i, j = options.dims or (0, 1)
    if max(i, j) >= latent_dim or i == j:
        problem = f"--dims {i} {j}: this VAE has {latent_dim} latent dimensions"
        raise UserError(f"{problem}, from 0: choose two of them")
    return np.eye(latent_dim, dtype="float32")[[i, j]], [f"z[{i}]", f"z[{j}]"]


def choose_start(options: Options, vae: VAE, settings: dict) -> np.ndarray:
    """Return z_mean of the image that --image names, (latent_dim,)."""
    images = load_images(settings, options.weights, options.data).images
    if options.image >= len(images):
        last = len(images) - 1
        raise UserError(f"--image {options.image}: choose from 0 to {last}")
    return vae.encode(images[options.image :][:1])[0][0]


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    size = options.size or (13 if options.traverse else 20)
    if options.random:
        count = options.count or size**2
        size = options.size or math.ceil(count**0.5)
        images = sample(vae, count, options.seed)
        if options.files:
            pictures.save_images(images, options.files)
        figure = show_samples(images, size)
    elif options.image is not None:
        z_mean = choose_start(options, vae, settings)
        figure = traverse(vae, size, z_mean, f"z_mean of image {options.image}")
    elif options.traverse:
        figure = traverse(vae, size)
    else:
        reach = pictures.GRID if options.range is None else options.range
        values = np.linspace(-reach, reach, size)
        if options.quantiles:
            values = pictures.quantiles(size)
        figure = scan(vae.decode, values, *choose_plane(options, vae, settings))
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, Options)
