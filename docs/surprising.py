"""Draw the ten held-out images with the highest loss, and what the VAE redraws.

python -m extras.evaluate --csv images.csv
python docs/surprising.py images.csv vae_mnist.weights.h5 surprising.png
"""

import csv
import pathlib
import sys

from matplotlib.figure import Figure

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from support import files, pictures
from support.shown import load_images
from vae_mnist import load_vae

COUNT = 10


def main(table: str, path: str, output: str) -> None:
    files.check_writable(output)
    vae, settings = load_vae(path)
    with open(table, newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -float(row["loss"]))[:COUNT]
    held_out = load_images(settings, path).images
    images = held_out[[int(row["index"]) for row in rows]]
    decoded = vae.decode(vae.encode(images)[0])
    figure = Figure(figsize=(COUNT, 2.5), layout="compressed")
    pairs = zip(rows, images, decoded, *figure.subplots(2, COUNT), strict=True)
    for row, image, redrawn, above, below in pairs:
        above.imshow(image, cmap="gray", vmin=0, vmax=255)
        below.imshow(redrawn, cmap="gray", vmin=0, vmax=1)
        above.set_title(f"“{row['label']}”\n{float(row['loss']):.0f} nats", size=10)
        for axes in above, below:
            axes.set(xticks=[], yticks=[])
    pictures.save_picture(figure, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
