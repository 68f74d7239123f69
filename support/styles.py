"""Pictures of what a conditional VAE draws: every class in the same style."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from support import pictures
from support.backend import keras
from support.parts import Part

ACROSS = 20  # images side by side, at most, of a row
LONGEST = 16  # characters of a name


def draw_rows(images: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Return a Figure of images in rows with these names."""
    rows, columns = len(names), len(images) // len(names)
    height, width = images.shape[1:3]
    cell = 7 / columns  # inches that an image is wide
    tall = min(0.8 + cell * rows * height / width, 60)
    figure = Figure(figsize=(8, tall), layout="constrained")
    axes = figure.subplots()
    axes.imshow(
        pictures.tile(images, columns),
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(0, columns, rows, 0),
        aspect=height / width,
    )
    name_places(axes.yaxis, names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    pictures.set_title(axes, title)
    return figure


def name_places(axis: Axis, names: Sequence[str]) -> None:
    """Write a name, or its beginning, beside each image along an axis."""
    names = [
        name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names
    ]
    fonts = pictures.fonts_for("".join(names))
    places = np.arange(len(names)) + 0.5
    axis.set_ticks(places, names, family=fonts, parse_math=False)


def every_class(vae: keras.Model, z: np.ndarray) -> np.ndarray:
    """Decode each z with every label: return images, (n, classes, H, W, …)."""
    classes = len(vae.class_names)
    labels = np.tile(np.arange(classes), len(z))
    images = vae.decode(np.repeat(z, classes, axis=0), labels)
    return images.reshape(len(z), classes, *vae.image_shape)


def draw_styles(vae: keras.Model, z: np.ndarray) -> Figure:
    """Return a Figure of a row per class and a column per z."""
    images = np.concatenate(every_class(vae, z).swapaxes(0, 1))
    return draw_rows(images, vae.class_names, "one random z per column, every label")


def draw_like(vae: keras.Model, chosen: Part, numbers: Sequence[int]) -> Figure:
    """Return a Figure of images, and of their z decoded with every label.

    With few classes an image has a row, or else a column. numbers: what to call them.
    """
    drawn = every_class(vae, vae.encode(chosen.images, chosen.labels)[0])
    table = np.concatenate([chosen.images[:, None] / 255, drawn], axis=1)
    title = "an image, and its z with every label"
    images, names = list(map(str, numbers)), ["image", *vae.class_names]
    if len(names) <= ACROSS:
        figure = draw_rows(np.concatenate(table), images, title)
        axes = figure.axes[0]
        axes.axvline(1, color="white", linewidth=4)
        name_places(axes.xaxis, names)
        if max(map(len, names[1:])) > 5:
            axes.tick_params(axis="x", rotation=45)
    else:
        figure = draw_rows(np.concatenate(table.swapaxes(0, 1)), names, title)
        axes = figure.axes[0]
        axes.axhline(1, color="white", linewidth=4)
        name_places(axes.xaxis, images)
    return figure
