"""Draw how a VAE learned: its losses over the epochs.

    python -m extras.plot_training
    python -m extras.plot_training --weights a.weights.h5 b.weights.h5     compare runs

The losses come from the weights file or, for an unfinished run, from its checkpoint.
"""

from dataclasses import dataclass

from support import cli
from support.trained import NewPicture


@cli.options(__doc__, keras=False)
@dataclass
class Options:
    weights: tuple[str, ...] = (cli.WEIGHTS,)  # a weights file, or several to compare
    output: NewPicture = "training.png"  # the picture; its ending is the format
    show: bool = False  # open the picture in the browser


import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from support import pictures, weights
from support.errors import UserError, printable

Array = np.ndarray


def read_history(path: str) -> tuple[str, dict[str, Array]]:
    """Return a run's name and history, from its weights file or a newer checkpoint."""
    existing = filter(os.path.exists, (path, weights.checkpoint_of(path)))
    newest = max(existing, key=os.path.getmtime, default=path)
    _, rows = weights.read(newest)
    if not rows:
        raise UserError(f"{newest} has no completed epoch: there is no curve to draw")
    name = printable(path.removesuffix(weights.SUFFIX))
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


def main(options: Options) -> None:
    runs = [read_history(path) for path in options.weights]
    figure = draw_training(*runs[0]) if len(runs) == 1 else draw_comparison(runs)
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, Options)
