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
from support.pictures import save_picture, tile
from vae_mnist import load_vae

COLUMNS = 20  # images side by side
LARGEST = 40  # inches that a picture is high


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
    return -10 * np.log10(error) if error else np.inf


def draw_rows(rows):
    """One row of images per entry; long rows are broken into lines.

    rows: a dict from the label of a row to its images, shape (n, H, W) or
    (n, H, W, 3), in [0, 1]. Returns the matplotlib Figure.
    """
    count, height, width = next(iter(rows.values())).shape[:3]
    columns = min(count, COLUMNS)
    lines = [
        tile(images[start : start + columns], columns)
        for start in range(0, count, columns)
        for images in rows.values()
    ]
    aspect = height / width
    cell = min(1, LARGEST / (len(lines) * aspect))  # inches that an image is wide
    figure, axes = plt.subplots(
        figsize=(1.5 + cell * columns, 0.4 + cell * len(lines) * aspect),
        layout="constrained",
    )
    # In units of whole images, counted from the top left corner.
    extent = (0, columns, len(lines), 0)
    picture = np.concatenate(lines)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent, aspect=aspect)
    labels = list(rows) * (len(lines) // len(rows))
    axes.set_yticks(np.arange(len(lines)) + 0.5, labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
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
