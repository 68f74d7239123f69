"""A model and its images as JSON, for the page."""

import base64
import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.cluster import vq
from scipy.interpolate import CubicSpline

from support import pictures
from support.backend import keras
from support.errors import UserError
from support.page_grid import SIDE, Grid, find_reach
from support.parts import Labels

Array = np.ndarray
ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu", "elu", "silu")  # the page's
KNOWN = (  # other layers that it can compute
    keras.layers.Concatenate,  # of the label
    keras.layers.InputLayer,
    keras.layers.Normalization,
    keras.layers.Rescaling,
)
STEPS = 200  # of the tour


def tour(z_mean: Array, labels: Array | None) -> Array:
    """Return a closed, smooth path through the medians of the classes.

    Without classes, k-means finds clusters. Shape (STEPS, latent_dim).
    """
    if labels is None or not 3 <= len(np.unique(labels)) <= STEPS:
        clusters = min(10, len(np.unique(z_mean, axis=0)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A cluster may end up empty.
            _, labels = vq.kmeans2(z_mean, clusters, minit="++", seed=0)
    stops = [np.median(z_mean[labels == c], axis=0) for c in np.unique(labels)]
    spline = CubicSpline(range(len(stops) + 1), [*stops, stops[0]], bc_type="periodic")
    return spline(np.arange(STEPS) / STEPS * len(stops))


def floats(array: Array, bits: int = 32) -> str:
    """Return an array as base64 of 16-bit or 32-bit floats."""
    return base64.b64encode(np.asarray(array, f"<f{bits // 8}").tobytes()).decode()


def dense_layers(model: keras.Model) -> dict[str, list[keras.layers.Dense]]:
    """Return a model's dense layers by name, each with its gate if it has one.

    Raises UserError if the page cannot compute a layer.
    """
    dense = {}
    last = []
    for layer in model.layers[1:]:
        if isinstance(layer, keras.layers.Dense):
            activation = layer.activation.__name__
            if activation not in ACTIVATIONS:
                raise UserError(f"the page lacks the activation {activation}")
            if activation == "sigmoid" and last and layer.input is last[0].input:
                last.append(layer)
            else:
                last = dense[layer.name] = [layer]
        elif not isinstance(layer, KNOWN):
            kind = type(layer).__name__
            raise UserError(f"the page computes dense layers only, not {kind}")
    return dense


def normalization(encoder: keras.Model) -> dict[str, float]:
    """Return what the encoder does to x first: (x - mean)·scale."""
    kinds = {type(layer): layer for layer in encoder.layers}
    rescaling = kinds[keras.layers.Rescaling]
    known = kinds[keras.layers.Normalization].get_weights()[:2]
    mean, variance = (float(weight.squeeze()) for weight in known)
    sigma = max(variance**0.5, keras.backend.epsilon())  # as in Keras
    return {"mean": mean, "scale": rescaling.scale / sigma}


@contextlib.contextmanager
def rounded(vae: keras.Model) -> Iterator[None]:
    """Round the weights of dense layers to 16 bits while the context lasts."""
    parts = dense_layers(vae.encoder), dense_layers(vae.decoder)
    dense = [layer for part in parts for pair in part.values() for layer in pair]
    exact = [layer.get_weights() for layer in dense]
    with np.errstate(over="ignore"):
        for layer, weights in zip(dense, exact, strict=True):
            layer.set_weights([np.float16(weight) for weight in weights])
    try:
        yield
    finally:
        for layer, weights in zip(dense, exact, strict=True):
            layer.set_weights(weights)


def bits_needed(vae: keras.Model, images: Array, labels: Labels) -> int:
    """Return 16 if the model hardly changes when its weights have 16 bits, or else 32.

    Hardly: z_mean moves by less than σ/20, σ by less than 5%, and the gray of a pixel
    by less than two levels.
    """
    z_mean, z_log_sigma = vae.encode(images, labels)
    drawn = vae.decode(z_mean, labels)
    with rounded(vae):
        moved, changed = vae.encode(images, labels)
        grays = np.abs(vae.decode(z_mean, labels) - drawn)
    allowed = np.exp(z_log_sigma) / 20
    if vae.config.beta == 0:  # Its σ is 0 and means nothing; 1/500 is hard to see.
        allowed = z_mean.std(axis=0) / 500
    moves = np.abs(moved - z_mean) < allowed
    changes = np.abs(changed - z_log_sigma) < 0.05
    # NaN, from weights beyond the range of 16 bits, is not less than anything.
    small = moves.all() and changes.all() and grays.max() < 2 / 255
    return 16 if small else 32


def describe_grid(
    vae: keras.Model, reach: float, label: int | None = None
) -> dict | None:
    """Return the grid for the true posterior; None unless z has two dimensions."""
    if vae.config.latent_dim != 2:
        return None
    grid = Grid(vae, reach, label)
    return {"size": grid.size, "side": SIDE, "softplus": floats(grid.softplus)}


def describe_layers(model: keras.Model, classes: int, bits: int) -> list[dict]:
    """Return what the page knows about the dense layers of a model, and their gates.

    classes: of a conditional model, whose labels, one-hot, choose a row of the first
    kernel. In the page, each such row has become a bias.
    """

    def describe_layer(classes, layer, gate=None):
        kernel, bias = layer.get_weights()
        inputs = len(kernel) - classes
        return {
            "kernel": floats(kernel[:inputs].T, bits),  # a row per output
            "bias": floats(bias, bits),
            "biases": floats(bias + kernel[inputs:]) if classes else None,
            "activation": layer.activation.__name__,
            "gate": gate and describe_layer(classes, gate),
        }

    first, *others = dense_layers(model).values()
    return [
        describe_layer(classes, *first),
        *(describe_layer(0, *pair) for pair in others),
    ]


def describe(
    vae: keras.Model,
    images: Array,
    labels: Labels,
    names: list[str],
    chosen: Array,
) -> dict:
    """Return what the page knows about a model.

    images, labels: all of them; chosen: those in the page; names: of classes, to write.
    """
    z_mean, z_log_sigma = vae.encode(images, labels)
    # Not the plane of the pictures: the page moves every latent dimension by itself.
    dims = sorted(np.argsort(z_mean.var(axis=0))[-2:].tolist())
    plane = z_mean[:, dims]
    reach = find_reach(plane)
    bits = bits_needed(vae, images[chosen], None if labels is None else labels[chosen])
    classes = len(vae.class_names)
    with rounded(vae) if bits == 16 else contextlib.nullcontext():
        *hidden, z_mean_layer, z_log_sigma_layer = describe_layers(
            vae.encoder, classes, bits
        )
        decoder = describe_layers(vae.decoder, classes, bits)
        grids = [describe_grid(vae, reach, label) for label in range(classes)]
        grid = None if grids else describe_grid(vae, reach)
    return {
        "bits": bits,
        **normalization(vae.encoder),
        "z_mean": z_mean_layer,
        "z_log_sigma": z_log_sigma_layer,
        "hidden": hidden,
        "decoder": decoder,
        "beta": vae.config.beta,
        "binarize": vae.config.binarize,
        "latentDim": z_mean.shape[1],
        "dims": dims,
        "reach": reach,
        "names": pictures.place_names(plane, labels, names, reach, reach / 20),
        "points": floats(z_mean[chosen]),
        "logSigmas": floats(z_log_sigma[chosen]),
        "grid": grid,
        "grids": grids or None,  # of a conditional model, one for each label
        "tour": floats(tour(z_mean, labels)),
    }


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
