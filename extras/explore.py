"""Make one HTML page in which to explore a VAE by hand.

    python explore.py                     explore.html: open it in any browser
    python explore.py --gif tour.gif      a tour through the classes, for slides
    python explore.py --weights a.weights.h5 b.weights.h5    several models to compare

Draw an image: the page shows where the encoder puts it, how sure it is, and what the
decoder makes of it. Move over the latent plane to see what is drawn at each point. The
page is a single file that needs no network and no server.
"""

from dataclasses import asdict, dataclass

from support import cli


@dataclass
class Options(cli.Trained):
    weights: tuple[str, ...] = (cli.WEIGHTS,)  # one weights file or several to compare
    output: str = "explore.html"  # the page to write
    gif: str | None = None  # write the tour as an animation instead of the page
    show: bool = False  # open the page in a browser


if __name__ == "__main__":
    options = cli.parse(Options, __doc__)  # before the slow imports below

import base64
import io
import json
import pathlib
import re
import webbrowser

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image
from scipy import ndimage
from scipy.interpolate import CubicSpline
from sklearn.cluster import KMeans

from support import data, pictures, weights
from support.backend import keras, layers
from vae_mnist import VAE, load_vae

Array = np.ndarray
PAGE = pathlib.Path(__file__).parent / "support" / "page"
IMAGES = 2000  # held-out images in the page, at most …
PIXELS = 2_000_000  # … and numbers in them
FRAMES = 200  # of the tour
MS = 100  # that a frame is shown


def tour(z_mean: Array, labels: Array | None) -> Array:
    """Return a closed, smooth path through the medians of the classes.

    Without classes, k-means finds clusters. Shape (FRAMES, latent_dim).
    """
    if labels is None or not 3 <= len(np.unique(labels)) <= FRAMES:
        clusters = min(10, len(np.unique(z_mean, axis=0)))
        labels = KMeans(clusters, random_state=0).fit_predict(z_mean)
    stops = [np.median(z_mean[labels == c], axis=0) for c in np.unique(labels)]
    spline = CubicSpline(range(len(stops) + 1), [*stops, stops[0]], bc_type="periodic")
    return spline(np.arange(FRAMES) / FRAMES * len(stops))


def write_gif(vae: VAE, path: Array, file: str) -> None:
    """Write an animation of what the decoder draws along a path, (n, latent_dim)."""
    scale = max(1, 224 // max(vae.image_shape[:2]))
    images = np.round(255 * vae.decode(path)).astype("uint8")
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    colors = 256 if images.ndim == 4 else 32
    first, *others = (Image.fromarray(image).quantize(colors) for image in images)
    options = {"append_images": others, "duration": MS, "loop": 0}
    with weights.replacing(file) as part:
        first.save(part, "gif", save_all=True, **options)


def floats(array: Array, bits: int = 32) -> str:
    """Return an array as base64 of 16-bit or 32-bit floats."""
    return base64.b64encode(np.asarray(array, f"<f{bits // 8}").tobytes()).decode()


def dense_layers(model: keras.Model, bits: int) -> dict[str, dict]:
    """Return a model's dense layers for JSON, by name.

    The encoder's normalization, x ↦ scale·x + shift, goes into its first dense layer.
    Raises UserError if there are other layers.
    """
    found, scale, shift = {}, 1.0, 0.0
    for layer in model.layers[1:]:
        if isinstance(layer, layers.Dense):
            kernel, bias = layer.get_weights()
            bias, kernel = bias + shift * kernel.sum(axis=0), scale * kernel
            found[layer.name] = {
                "kernel": floats(kernel.T, bits),  # a row per output
                "bias": floats(bias, bits),
                "activation": layer.activation.__name__,
            }
            scale, shift = 1.0, 0.0
        elif isinstance(layer, layers.Normalization):
            mean, variance = (float(w.squeeze()) for w in layer.get_weights()[:2])
            sigma = variance**0.5 or 1.0  # of constant images, 0
            scale, shift = scale / sigma, (shift - mean) / sigma
        elif isinstance(layer, layers.Rescaling):
            scale, shift = scale * layer.scale, shift * layer.scale + layer.offset
        else:
            raise cli.UserError(f"the page runs dense layers only, not {layer.name}")
    return found


def bits_needed(vae: VAE, z: Array) -> int:
    """Return 16 if 16-bit weights change decode(z) by a gray level at most, or 32."""
    before, exact = vae.decoder.get_weights(), vae.decode(z)
    with np.errstate(over="ignore"):
        vae.decoder.set_weights([np.float16(weight) for weight in before])
    difference = np.abs(vae.decode(z) - exact).max()
    vae.decoder.set_weights(before)
    return 16 if difference <= 1 / 255 else 32


def like_mnist(images: Array) -> bool:
    """Return whether images are prepared like MNIST's digits.

    The ink fits into 20 × 20 pixels, with its center of mass in the middle of 28 × 28.
    """
    if images.shape[1:] != (28, 28) or not images.any():
        return False
    images = images[images.any(axis=(1, 2))]
    centers = np.array([ndimage.center_of_mass(image) for image in images])
    boxes = np.array([Image.fromarray(image).getbbox() for image in images])
    fits = (boxes[:, 2:] - boxes[:, :2] <= 20) & (np.abs(centers - 14) < 0.6)
    return bool(fits.all(axis=1).mean() > 0.9)


def contact_sheet(images: Array, columns: int) -> str:
    """Return all images in one, `columns` to a row, as a data URL of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pictures.tile(images, columns)).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def describe(
    vae: VAE, z_mean: Array, labels: Array | None, classes: list[str], chosen: Array
) -> dict:
    """Return what the page knows about a model.

    z_mean, labels: of all images; chosen: those in the page; classes: names to write.
    """
    dims = sorted(np.argsort(z_mean.var(axis=0))[-2:].tolist())
    plane = z_mean[:, dims]
    reach = max(3.0, pictures.find_reach(plane))
    bits = bits_needed(vae, z_mean[chosen])
    encoder, decoder = (dense_layers(part, bits) for part in (vae.encoder, vae.decoder))
    return {
        "bits": bits,
        "z_mean": encoder.pop("z_mean"),
        "z_log_sigma": encoder.pop("z_log_sigma"),
        "hidden": list(encoder.values()),
        "decoder": list(decoder.values()),
        "beta": vae.config.beta,
        "binarize": vae.config.binarize,
        "latentDim": z_mean.shape[1],
        "dims": dims,
        "reach": reach,
        "names": pictures.place_names(plane, labels, classes, reach, reach / 20),
        "z": floats(z_mean[chosen]),
        "tour": floats(tour(z_mean, labels)),
    }


def bundle(name: str, bundled: set[str]) -> str:
    """Return a JavaScript module of the page after those that it imports, each once.

    A page opened from disk cannot import modules, so all become one, without the words
    `import` and `export`: the names that modules define must differ.
    """
    bundled.add(name)
    source = (PAGE / name).read_text(encoding="utf-8")
    needed = re.findall(r'^import [^;]*"\./(.+)";\n', source, flags=re.MULTILINE)
    before = [bundle(file, bundled) for file in needed if file not in bundled]
    source = re.sub(r"^import [^;]*;\n|^export ", "", source, flags=re.MULTILINE)
    return "".join(before) + source


def make_page(vaes: list[VAE], names: list[str], dataset: data.Dataset) -> str:
    """Return the HTML of the page for models and their held-out images."""
    images, labels, classes = dataset.x_test, dataset.y_test, dataset.class_names or []
    named = [] if labels is None or len(classes) > pictures.LEGEND else classes
    chosen = np.random.default_rng(0).permutation(len(images))
    chosen = chosen[: min(IMAGES, max(1, PIXELS // images[0].size))]
    columns = int(np.ceil(len(chosen) ** 0.5))
    known = {
        "shape": images.shape[1:],
        "models": [
            {"name": name} | describe(vae, vae.encode(images)[0], labels, named, chosen)
            for name, vae in zip(names, vaes, strict=True)
        ],
        "centered": like_mnist(images[chosen]),
        "labels": None if labels is None else labels[chosen].tolist(),
        "classNames": classes,
        "classes": named,
        "colors": [to_hex(color) for color in pictures.class_colors(len(classes))],
        "sheet": contact_sheet(images[chosen], columns),
        "columns": columns,
        "seconds": FRAMES * MS / 1000,
    }
    html = (PAGE / "index.html").read_text("utf-8")
    style = f"<style>\n{(PAGE / 'style.css').read_text('utf-8')}</style>"
    html = html.replace('<link rel="stylesheet" href="style.css">', style)
    html = html.replace(' src="main.js">', f">\n{bundle('main.js', set())}")
    # No text of the data set may end the script element.
    return html.replace('"DATA"', json.dumps(known).replace("<", "\\u003c"))


def names_of(paths: tuple[str, ...], vaes: list[VAE]) -> list[str]:
    """Name models by the options that differ between them, or else by their files."""
    configs = [asdict(vae.config) | {"data": None} for vae in vaes]
    differing = [k for k in configs[0] if len({str(c[k]) for c in configs}) > 1]
    names = [", ".join(f"{k} = {c[k]}" for k in differing) for c in configs]
    names = [re.sub(r"beta = (\S+?)(\.0)?\b", r"β = \1", name) for name in names]
    return names if len(set(names)) == len(names) else list(paths)


def main(options: Options) -> None:
    output = options.gif or options.output
    weights.check_writable(output)
    first, vaes, dataset = options.weights[0], [], None
    for path in options.weights:
        vae, settings = load_vae(path)
        pictures.check_plane(vae.config.latent_dim)
        vaes.append(vae)
        images = data.load_again(settings, path, options.data)
        dataset = dataset or images
        if not np.array_equal(dataset.x_test, images.x_test):
            raise cli.UserError(f"{first} and {path} were trained on different images")
    if options.gif:
        z_mean, _ = vaes[0].encode(dataset.x_test)
        write_gif(vaes[0], tour(z_mean, dataset.y_test), options.gif)
    else:
        page = make_page(vaes, names_of(options.weights, vaes), dataset)
        with weights.replacing(output) as part:
            part.write_text(page, encoding="utf-8")
    print(f"wrote {output}")
    if options.show:
        webbrowser.open(pathlib.Path(output).resolve().as_uri())


if __name__ == "__main__":
    cli.run(main, options)
