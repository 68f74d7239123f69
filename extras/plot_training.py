"""Draw how a VAE learned: its losses over the epochs, or a film of its latent plane.

    python plot_training.py
    python plot_training.py --weights a.weights.h5 b.weights.h5     compare runs
    python plot_training.py --snapshots FOLDER --film film.gif

The losses come from the weights file or, for an unfinished run, from its checkpoint.
The film shows the snapshots that vae_mnist.py --snapshots FOLDER saved.
"""

from dataclasses import dataclass

from support import cli


@dataclass
class Options:
    weights: tuple[str, ...] = (cli.WEIGHTS,)  # a weights file, or several to compare
    output: str = "training.png"  # the picture to write; its ending is the format
    show: bool = False  # open the picture in the browser
    film: str | None = None  # write a film instead, a .gif or an .mp4
    snapshots: str | None = None  # the folder to film, from vae_mnist.py --snapshots
    data: str | None = None  # film other images than those it was trained on


if __name__ == "__main__":
    options = cli.parse(Options, __doc__)  # before the slow imports below

import itertools
import os
import pathlib
import re
import subprocess
import sys
import typing
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import animation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import track

from support import data, pictures, readers, weights
from support.cli import UserError

if typing.TYPE_CHECKING:  # The curve needs no Keras, which takes seconds.
    from vae_mnist import VAE

Array = np.ndarray
IMAGES = 1000  # held-out images in the film's plane
SIZE = 16  # images per side of the film's grid
DURATION = 250  # of a frame, in ms
LAST = 8  # times that the last frame is shown


# The learning curve


def read_history(path: str) -> tuple[str, dict[str, Array]]:
    """Return a run's name and history, from its weights file or a newer checkpoint."""
    existing = filter(os.path.exists, (path, weights.checkpoint_of(path)))
    newest = max(existing, key=os.path.getmtime, default=path)
    _, rows = weights.read(newest)
    if not rows:
        raise UserError(f"{newest} has no completed epoch: there is no curve to draw")
    name = readers.printable(path.removesuffix(weights.SUFFIX))
    history = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return name if newest == path else f"{name} (unfinished)", history


def best(losses: Array) -> tuple[int, float]:
    """Return the epoch of the lowest loss, counted from 1, and that loss."""
    return int(np.argmin(losses)) + 1, float(losses.min())


def draw_curve(axes: Axes, values: Array, label: str, color: str) -> None:
    """Draw a line with a value per epoch."""
    style = ".-" if len(values) < 100 else "-"
    axes.plot(range(1, len(values) + 1), values, style, color=color, label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)


def draw_training(name: str, history: dict[str, Array]) -> Figure:
    """Return a Figure of one run: its loss, the loss's two terms, the learning rate."""
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    places = [["loss", "reconstruction"], ["loss", "kl"], ["loss", "rate"]]
    axes = figure.subplot_mosaic(places, width_ratios=[3, 2])
    titles = {
        "loss": f"loss of {os.path.basename(name)} = reconstruction + β·KL",
        "reconstruction": "reconstruction, −log p(x|z)",
        "kl": "KL, from q(z|x) to the prior",
    }
    training = "training images, averaged while learning"
    held_out = "held-out images, after the epoch"
    for key, title in titles.items():
        draw_curve(axes[key], history[key], training, "C0")
        draw_curve(axes[key], history[f"val_{key}"], held_out, "C1")
        axes[key].set_title(title, parse_math=False)
    epoch, loss = best(history["val_loss"])
    axes["loss"].plot(epoch, loss, "C1*", markersize=14)
    axes["loss"].set(xlabel="epoch", ylabel="nats per image")
    title = f"best: {loss:.2f} on held-out images, in epoch {epoch}"
    axes["loss"].legend(title=title, alignment="left")
    draw_curve(axes["rate"], history["learning_rate"], "learning rate", "0.6")
    axes["rate"].set(title="learning rate", xlabel="epoch", ylim=(0, None))
    return figure


def draw_comparison(histories: Sequence[tuple[str, dict[str, Array]]]) -> Figure:
    """Return a Figure of several runs' held-out losses, by their names."""
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, history) in enumerate(histories):
        epoch, loss = best(history["val_loss"])
        label = f"{name}: best {loss:.2f}, in epoch {epoch}"
        draw_curve(axes, history["val_loss"], label, f"C{number}")
        axes.plot(epoch, loss, f"C{number}*", markersize=14)
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
    axes.set(title="loss on held-out images", xlabel="epoch", ylabel="nats per image")
    return figure


# The film


class Frame(typing.NamedTuple):
    """What the film shows of a snapshot."""

    epochs: float  # of training
    loss: float  # held-out, in nats per image
    points: Array  # z_mean of some held-out images in the plane, (n, 2)
    manifold: Array  # decoded images of the same plane, tiled, uint8


def make_frame(
    vae: "VAE", path: pathlib.Path, held_out: Array, images: Array, dims: list[int]
) -> Frame:
    """Return the Frame of a snapshot; held_out: images for the loss, images: points."""
    weights.load(vae, path)
    loss = vae.evaluate(held_out, batch_size=1000, verbose=0)[0]
    z_mean, _ = vae.encode(images)
    directions = np.eye(z_mean.shape[1])[dims]
    decoded = vae.decode(pictures.plane_grid(pictures.quantiles(SIZE), directions))
    manifold = np.round(255 * pictures.tile(decoded, SIZE)).astype("uint8")
    epochs = float(path.name.removesuffix(weights.SUFFIX))
    return Frame(epochs, loss, z_mean[:, dims], manifold)


def draw_frames(
    frames: Sequence[Frame],
    labels: pictures.Labels,
    class_names: Sequence[str] | None,
    dims: Sequence[int],
    loss: str = "held-out loss",
) -> Iterator[Figure]:
    """Yield one Figure again and again, with the next Frame drawn into it."""
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    reach = max(pictures.find_reach(frame.points) for frame in frames)
    points, manifold = frames[-1][2:]  # The names stay where its classes are.
    clusters = pictures.draw_clusters(left, points, labels, class_names, reach)
    picture = right.imshow(manifold, cmap="gray", vmin=0, vmax=255)
    for axes in left, right:
        axes.set(xlabel=f"z[{dims[0]}]", ylabel=f"z[{dims[1]}]")
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


def write_film(figures: Iterator[Figure], path: pathlib.Path) -> None:
    """Write the successive states of a figure, as a GIF or, with ffmpeg, as a video."""
    gif = path.name.endswith(".gif")
    kind = animation.PillowWriter if gif else animation.FFMpegWriter
    writer, figure = kind(fps=1000 / DURATION), next(figures)
    try:
        with writer.saving(figure, path, figure.dpi):
            for _ in itertools.chain([figure], figures, [figure] * (LAST - 1)):
                writer.grab_frame()
    except subprocess.CalledProcessError as error:
        raise UserError("ffmpeg cannot write the film: is the disk full?") from error


def make_film(folder: str, path: str, source: str | None = None) -> None:
    """Write a film of the snapshots in a folder; source: of other images to show."""
    from vae_mnist import load_vae

    snapshots = pathlib.Path(folder).glob("*" + weights.SUFFIX)
    snapshots = [p for p in snapshots if re.match(r"\d{3,}\.\d\d\.weights", p.name)]
    snapshots.sort(key=lambda path: (len(path.name), path.name))
    if not snapshots:
        raise UserError(f"no snapshots in {folder}: train with --snapshots {folder}")
    vae, settings = load_vae(snapshots[-1])
    pictures.check_plane(vae.config.latent_dim)
    dataset = data.load_again(settings, folder, source)
    dims = sorted(np.argsort(vae.encode(dataset.x_test)[0].var(axis=0))[-2:].tolist())
    chosen = np.random.default_rng(0).permutation(len(dataset.x_test))[:IMAGES]
    arrays = dataset.x_test, dataset.x_test[chosen], dims
    labels = None if dataset.y_test is None else dataset.y_test[chosen]
    vae.compile(optimizer=None)
    bar = {"disable": not sys.stdout.isatty(), "transient": True}
    frames = [make_frame(vae, s, *arrays) for s in track(snapshots, "decoding", **bar)]
    loss = "held-out loss" if dataset.disjoint else "loss"
    figures = draw_frames(frames, labels, dataset.class_names, dims, loss)
    figures = iter(track(figures, "drawing", len(frames), **bar))
    with weights.replacing(path) as part:
        write_film(figures, part)
    print(f"wrote {path}")


def check(options: Options) -> None:
    """Raise UserError if options do not go together or a file cannot be written."""
    film, curve = options.film, Options()
    if not (film or options.snapshots or options.data):
        return pictures.check_picture(options.output)
    if not film or not options.snapshots:
        raise UserError("a film needs both --film FILE and --snapshots FOLDER")
    if (options.weights, options.output) != (curve.weights, curve.output):
        raise UserError("--film draws no curve: leave out --weights and --output")
    if not film.endswith((".gif", ".mp4")):
        raise UserError(f"--film {film}: end the name in .gif or .mp4")
    if film.endswith(".mp4") and not animation.writers.is_available("ffmpeg"):
        raise UserError(f"{film} needs ffmpeg, which is missing: name a .gif")
    weights.check_writable(film)


def main(options: Options) -> None:
    check(options)
    if options.film:
        return make_film(options.snapshots, options.film, options.data)
    runs = [read_history(path) for path in options.weights]
    figure = draw_training(*runs[0]) if len(runs) == 1 else draw_comparison(runs)
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, options)
