"""Draw what the decoder generates all over the latent space.

    python generate_grid.py                    the plane, in steps of equal probability
    python generate_grid.py --range 3          the plane, in equal steps from -3 to 3
    python generate_grid.py --random           random points of the prior N(0, I)
    python generate_grid.py --traverse         one latent dimension per row

In the plane z[0] grows to the right and z[1] upward, as in the picture of
plot_latent.py: an image here belongs to the cluster at the same place there.
"""

from dataclasses import dataclass

from support import cli


@dataclass
class Options(cli.Trained):
    output: str = "grid.png"  # the picture to write; its ending is the format
    size: int | None = None  # images per side; by default 20, or 13 to traverse
    range: float | None = None  # steps are equal, from -RANGE to RANGE
    dims: tuple[int, int] | None = None  # the two to scan, not the most used; rest at 0
    random: bool = False  # decode random z instead of a plane
    seed: int = 0  # of the random z
    traverse: bool = False  # scan every dimension by itself, the most used first
    image: int | None = None  # traverse from this held-out image instead of from z = 0
    show: bool = False  # open the picture in the browser


if __name__ == "__main__":
    options = cli.parse(Options, __doc__)  # before the slow imports below

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from support import data, pictures
from support.cli import UserError
from vae_mnist import VAE, load_vae

MAX_SIZE = 200  # then an image is 4 pixels of the picture


def rank_dims(decode: Callable, latent_dim: int) -> list[int]:
    """Return the latent dimensions by how much ±1 changes the image, the most first."""
    steps = np.eye(latent_dim, dtype="float32")
    origin, *images = decode(np.concatenate([0 * steps[:1], steps, -steps]))
    changes = np.square(images - origin).reshape(2, latent_dim, -1).mean(axis=(0, 2))
    return np.argsort(-changes, kind="stable").tolist()


def draw_manifold(
    picture: np.ndarray, values: np.ndarray, axis_names: Sequence[str], title: str
) -> Figure:
    """Return a Figure of a tiled picture, with the z of its columns and rows.

    picture: shape (size·H, size·W) or (size·H, size·W, 3), in [0, 1].
    values: ascending, shape (size,).
    """
    size = len(values)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    # In units of images, counted from the bottom left corner.
    axes.imshow(
        picture,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(0, size, 0, size),
        aspect=picture.shape[0] / picture.shape[1],
    )
    shown = np.linspace(0, size - 1, min(size, 10)).round().astype(int)
    names = [f"{values[i]:.2f}" for i in shown]
    axes.set_xticks(shown + 0.5, names)
    axes.set_yticks(shown + 0.5, names)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1], title=title)
    return figure


def scan(
    vae: VAE,
    size: int = 20,
    reach: float | None = None,
    dims: Sequence[int] | None = None,
) -> Figure:
    """Return a Figure of size × size images from a plane of two latent dimensions.

    reach: take equal steps from -reach to reach, not steps of equal probability.
    dims: the dimensions, by default the two that change the image most.
    """
    latent_dim = vae.config.latent_dim
    pictures.check_plane(latent_dim)
    i, j = dims or sorted(rank_dims(vae.decode, latent_dim)[:2])
    if not (0 <= i < latent_dim and 0 <= j < latent_dim and i != j):
        raise UserError(
            f"--dims {i} {j}: give two of the latent dimensions, which count from 0;"
            f" this VAE has {latent_dim}"
        )
    values = pictures.quantiles(size)
    if reach is not None:
        values = np.linspace(-reach, reach, size)
    images = vae.decode(pictures.plane_grid(values, np.eye(latent_dim)[[i, j]]))
    title = f"{size} × {size} decoded points of the latent plane"
    if latent_dim > 2:
        title += f"\nof z[{i}] and z[{j}], with the other {latent_dim - 2} at 0"
    picture = pictures.tile(images, size)
    return draw_manifold(picture, values, [f"z[{i}]", f"z[{j}]"], title)


def sample(vae: VAE, size: int = 20, seed: int = 0) -> Figure:
    """Return a Figure of size × size images decoded from random z ~ N(0, I)."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((size**2, vae.config.latent_dim), "float32")
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(pictures.tile(vae.decode(z), size), cmap="gray", vmin=0, vmax=1)
    title = f"{size**2:,} draws of z ~ N(0, I), decoded: each pixel's probability"
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
    values = np.linspace(-3, 3, size)
    points = np.zeros((latent_dim, size, latent_dim), "float32")
    points += 0 if z is None else z
    for row, dimension in enumerate(order):
        points[row, :, dimension] = values
    images = vae.decode(points.reshape(-1, latent_dim))
    height, width = images.shape[1:3]
    cell = 7 / size  # inches that an image is wide
    figure = Figure(
        figsize=(8, min(0.8 + cell * latent_dim * height / width, 60)),
        layout="constrained",
    )
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
    axes.set_xticks(
        shown + 0.5, [f"{x:g}" for x in np.interp(shown, range(size), values)]
    )
    axes.tick_params(length=0)
    axes.set_title(f"one latent dimension per row, with the others at {start}")
    return figure


def check(options: Options) -> None:
    """Raise UserError for options that do not go together."""
    scans = options.range is not None or options.dims is not None
    if options.random + options.traverse + scans > 1:
        raise UserError("choose one of --random, --traverse, and --range or --dims")
    if options.image is not None and not options.traverse:
        raise UserError("--image is where --traverse starts: add --traverse")
    if options.data and options.image is None:
        raise UserError("--data is for --traverse --image: a grid needs no images")
    if options.size and options.size > MAX_SIZE:
        raise UserError(f"--size {options.size}: at most {MAX_SIZE} are visible")


def main(options: Options) -> None:
    check(options)
    pictures.check_picture(options.output)
    vae, settings = load_vae(options.weights)
    size = options.size or (13 if options.traverse else 20)
    if options.random:
        figure = sample(vae, size, options.seed)
    elif options.image is not None:
        images = data.load_again(settings, options.weights, options.data).x_test
        if options.image >= len(images):
            raise UserError(
                f"--image {options.image}: there are {len(images):,}, from 0"
            )
        z_mean, _ = vae.encode(images[options.image :][:1])
        start = f"z_mean of image {options.image}"
        figure = traverse(vae, size, z_mean[0], start)
    elif options.traverse:
        figure = traverse(vae, size)
    else:
        figure = scan(vae, size, options.range, options.dims)
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, options)
