"""Draws held-out images above their reconstructions.

    python reconstruct.py
    python reconstruct.py --noise 0.5          between them: what the model saw instead

With --noise the model sees only corrupted images: the originals with Gaussian noise of
that standard deviation added, pixels in [0, 1], and clipped. A VAE that was trained
with --noise takes it from the weights file. Prints how far the corrupted and the
reconstructed images are from the originals, over all held-out images.
"""

from support import command_line

if __name__ == "__main__":  # before the imports, which take seconds
    options = command_line.drawing("reconstruction.png") | {
        "count": (10, "images in the picture"),
        "noise": (
            None,
            "standard deviation (default: what the VAE was trained with)",
            {"type": command_line.amount, "metavar": "S"},
        ),
    }
    tables = command_line.TRAINED_ON, command_line.SEED, options
    args = command_line.read(__doc__, *tables)

import matplotlib.pyplot as plt
import numpy as np

from support import data
from support.pictures import save_picture
from vae_mnist import load_vae


def corrupt(images, noise, seed):
    """Adds Gaussian noise and clips, as a camera in the dark does.

    images: uint8; noise: standard deviation on the scale where pixels are in [0, 1].
    Returns uint8 of the same shape.
    """
    draws = np.random.default_rng(seed).standard_normal(images.shape, "float32")
    noisy = images / np.float32(255) + noise * draws  # N(x, noise²)
    return np.rint(255 * np.clip(noisy, 0, 1)).astype("uint8")


def mean_squared_error(images, originals):
    """The mean over all pixels of the squared difference, pixels in [0, 1]."""
    return np.mean((images - originals) ** 2, dtype="float64")


def psnr(error):
    """Peak signal-to-noise ratio in decibels, 10·log10(peak² / error), peak 1."""
    return -10 * np.log10(error)


def draw_rows(rows):
    """One row of images per entry.

    rows: a dict from the label of a row to its images, shape (n, H, W) or
    (n, H, W, 3), in [0, 1]. Returns the matplotlib Figure.
    """
    count = len(next(iter(rows.values())))
    figure, grid = plt.subplots(
        len(rows),
        count,
        figsize=(1 + count, 0.4 + len(rows)),
        layout="constrained",
        squeeze=False,
    )
    for axes_of_row, (label, images) in zip(grid, rows.items(), strict=True):
        axes_of_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for axes, image in zip(axes_of_row, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    return figure


def main(args):
    vae, settings = load_vae(args.weights)
    dataset = data.load_again(settings, args.weights, args.data)
    noise = vae.noise if args.noise is None else args.noise
    seen = corrupt(dataset.x_test, noise, args.seed) if noise else dataset.x_test
    z_mean = vae.encoder.predict(seen, batch_size=1000, verbose=0)["z_mean"]
    originals = dataset.x_test / np.float32(255)
    rows = {"original": originals}
    if noise:
        rows[f"noise {noise:g}"] = seen / np.float32(255)
    rows["reconstruction"] = vae.decode(z_mean)

    figure = draw_rows({label: images[: args.count] for label, images in rows.items()})
    save_picture(figure, args.output, args.show)
    for label, images in rows.items():
        if label != "original":
            error = mean_squared_error(images, originals)
            print(
                f"{label:16} mean squared error {error:.4f}  PSNR {psnr(error):.2f} dB"
            )


if __name__ == "__main__":
    command_line.run(main, args)
