"""Make a film of how the latent plane takes shape.

    python vae_mnist.py --snapshots moments
    python -m extras.film moments

On the left, where the encoder puts held-out images; on the right, what the decoder
draws at the center of that plane, in steps of equal probability.
"""

import os
from dataclasses import dataclass
from typing import Annotated

import tyro

from support import cli
from support.errors import UserError, progress


def is_folder(option: str, folder: str) -> None:
    if not os.path.isdir(folder):
        raise UserError(
            f"there is no folder {folder}: train with --snapshots {folder} first"
        )


Folder = Annotated[str, is_folder]


@cli.options(__doc__)
@dataclass
class Options:
    folder: tyro.conf.Positional[Folder]  # that vae_mnist.py --snapshots filled
    output: Annotated[str, cli.writable(".gif")] = "film.gif"  # the film to write
    data: cli.Source | None = None  # images to film; by default those held out


import pathlib
import typing
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import animation
from matplotlib.figure import Figure

from support import files, pictures, weights
from support import snapshots as saved
from support.parts import Part, take
from support.shown import load_images
from vae_mnist import VAE, load_vae

Array = np.ndarray
IMAGES = 1000  # in the film's plane
SIZE = 16  # images per side of the film's grid
DURATION = 250  # of a frame, in ms
LAST = 8  # times that the last frame is shown


class Frame(typing.NamedTuple):
    """What the film shows of a snapshot."""

    epochs: float  # of training
    loss: float  # in nats per image
    points: Array  # z_mean of some images in the plane, (n, 2)
    manifold: Array  # decoded images of the same plane, tiled, uint8


def make_frame(
    vae: VAE, path: pathlib.Path, held_out: Part, plotted: Part, plane: Array
) -> Frame:
    """Return the Frame of a snapshot.

    held_out: images for the loss. plotted: those to plot as points. plane: the part of
    the latent space to show, (2, latent_dim). A conditional VAE draws the rows with one
    label after the other.
    """
    weights.load(vae, path)
    inputs = held_out.inputs(bool(vae.class_names))
    loss = vae.evaluate(inputs, batch_size=1000, verbose=0)[0]
    z_mean, _ = vae.encode(plotted.images, plotted.labels)
    labels = np.repeat(np.arange(SIZE), SIZE) % max(1, len(vae.class_names))
    grid = pictures.plane_grid(pictures.quantiles(SIZE), plane)
    decoded = vae.decode(grid, labels)
    manifold = np.round(255 * pictures.tile(decoded, SIZE)).astype("uint8")
    epochs = float(path.name.removesuffix(weights.SUFFIX))
    return Frame(epochs, loss, z_mean @ plane.T, manifold)


def draw_frames(
    frames: Sequence[Frame],
    labels: pictures.Labels,
    class_names: Sequence[str] | None,
    axis_names: Sequence[str],
    loss: str = "held-out loss",
) -> Iterator[Figure]:
    """Yield one Figure again and again, with the next Frame drawn into it."""
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    reach = max(pictures.find_reach(frame.points) for frame in frames)
    last = frames[-1]  # The names stay where its classes are.
    clusters = pictures.draw_clusters(left, last.points, labels, class_names, reach)
    picture = right.imshow(last.manifold, cmap="gray", vmin=0, vmax=255)
    for axes in left, right:
        axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    right.set(xticks=[], yticks=[])
    title = figure.suptitle("an epoch")
    for _ in range(2):  # The second time, the layout fits.
        figure.draw_without_rendering()
    figure.set_layout_engine("none")  # From here on nothing moves.
    for frame in frames:
        title.set_text(f"epoch {frame.epochs:.2f}, {loss} {frame.loss:.1f} nats")
        clusters.set_offsets(frame.points)
        picture.set_data(frame.manifold)
        yield figure


def write_film(figures: Iterator[Figure], path: str) -> None:
    """Write the successive states of a figure as a GIF."""
    writer = animation.PillowWriter(fps=1000 / DURATION)
    figure = next(figures)
    with (
        files.replacing(path) as temporary,
        writer.saving(figure, temporary, figure.dpi),
    ):
        writer.grab_frame()
        for _ in figures:
            writer.grab_frame()
        for _ in range(LAST - 1):
            writer.grab_frame()
    print(f"wrote {path}")


def main(options: Options) -> None:
    paths = saved.find(options.folder)
    if not paths:
        raise UserError(
            f"no snapshots in {options.folder}: train with --snapshots {options.folder}"
        )
    if len({weights.read(path)[0]["run"] for path in paths}) > 1:
        raise UserError(f"{options.folder} has snapshots of several runs: remove some")
    vae, settings = load_vae(paths[-1])
    shown = load_images(settings, options.folder, options.data)
    z_mean, _ = vae.encode(shown.images, shown.labels)
    plane, axis_names = pictures.find_plane(z_mean)
    chosen = np.random.default_rng(0).permutation(len(shown.images))[:IMAGES]
    plotted = take(shown, chosen)
    vae.compile(optimizer=None)
    frames = [
        make_frame(vae, path, shown, plotted, plane)
        for path in progress(paths, "decoding")
    ]
    loss = "held-out loss" if shown.held_out else "loss"
    figures = draw_frames(frames, plotted.labels, shown.class_names, axis_names, loss)
    write_film(iter(progress(figures, "drawing", len(frames))), options.output)


if __name__ == "__main__":
    cli.run(main, Options)
