"""Report how well a VAE models the held-out images, in nats per image.

    python -m extras.evaluate
    python -m extras.evaluate --samples 1000 --json report.json
    python -m extras.evaluate --csv images.csv     a line per image, with its file
    python -m extras.evaluate --data new/          other images, and how odd they are

The loss of training is only a bound on −log p(x). The report compares it with an
importance-weighted estimate, which gets closer with more samples, and for two latent
dimensions with the integral itself, so that the gap is known exactly.
"""

from dataclasses import dataclass
from typing import Annotated

from support import cli
from support.cli import AtLeast0, AtLeast1
from support.errors import UserError
from support.trained import Trained


@cli.options(__doc__)
@dataclass
class Options(Trained):
    samples: AtLeast1[int] = 200  # of z per image, for the importance-weighted estimate
    seed: AtLeast0[int] = 0  # of the samples
    json: Annotated[str, cli.writable(".json")] | None = None  # also write the report
    csv: cli.NewTable | None = None  # write a line per image to this file
    all: bool = False  # in the table, also the images that the model was trained on

    def __post_init__(self) -> None:
        if self.all and not self.csv:
            raise UserError("--all needs a table: add --csv FILE.csv")


import json
import math

import numpy as np
from scipy import spatial, stats

from support import files
from support.backend import Tensor, in_batches, keras, layers, ops, to_pixels
from support.errors import note, printable, progress
from support.noise import entropy
from support.quadrature import integrate
from support.report import LABELS, NEIGHBORS, print_report, roc_row, roc_rows, table
from support.shown import Shown, load_images
from vae_mnist import VAE, kl_divergence, load_vae, reconstruction_loss, sample_latent

ACTIVE = 0.01  # variance of z_mean above which Burda et al. call a dimension active
DECODED = 10_000 * 28**2  # pixels decoded at once, which bounds the memory


def log_normal(z: Tensor, mean: Tensor | float, log_sigma: Tensor) -> Tensor:
    """Return log N(z; mean, diag(σ²)), over the last axis; log_sigma is log σ."""
    squares = ((z - mean) / ops.exp(log_sigma)) ** 2 + math.log(2 * math.pi)
    return -ops.sum(squares / 2 + log_sigma, axis=-1)


def importance_weights(
    vae: VAE, x: Tensor, z_mean: Tensor, z_log_sigma: Tensor, samples: int, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw z ~ q(z|x) and weight the draws: Burda et al. 2015, equation 8.

    x: pixels in [0, 1], (n, pixels). seed: a keras.random.SeedGenerator.
    Returns −log p(x|z) and log w = log p(x|z) + log p(z) − log q(z|x), in nats, both
    (n, samples).
    """
    shape = (len(x), samples, z_mean.shape[1])
    mean = ops.broadcast_to(z_mean[:, None], shape)
    log_sigma = ops.broadcast_to(z_log_sigma[:, None], shape)
    z = sample_latent([mean, log_sigma], seed)
    logits = vae.decoder(ops.reshape(z, (-1, shape[2])))
    logits = ops.reshape(logits, (*shape[:2], -1))
    reconstruction = reconstruction_loss(ops.expand_dims(x, 1), logits)
    log_p, log_q = log_normal(z, 0.0, ops.zeros_like(z)), log_normal(z, mean, log_sigma)
    return reconstruction, log_p - log_q - reconstruction


def sampled_losses(
    vae: VAE,
    images: np.ndarray,
    z_mean: Tensor,
    z_log_sigma: Tensor,
    samples: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the reconstruction term and an estimate of −log p(x), in nats, (n,) each.

    The estimate is −log of the mean of `samples` importance weights. In expectation it
    is never below −log p(x), and falls with more samples (Burda et al., theorem 1).
    """
    generator = keras.random.SeedGenerator(seed)
    count = min(len(images), math.ceil(samples * images.size / DECODED))
    batches = np.array_split(np.arange(len(images)), count)
    reconstructions, estimates = [], []
    for batch in progress(batches, "sampling"):
        arrays = to_pixels(images[batch]), z_mean[batch], z_log_sigma[batch]
        draws = importance_weights(vae, *arrays, samples, generator)
        reconstruction, log_w = map(ops.convert_to_numpy, draws)
        reconstructions.append(reconstruction.mean(axis=1))
        estimates.append(math.log(samples) - np.logaddexp.reduce(log_w, axis=1))
    return np.concatenate(reconstructions), np.concatenate(estimates)


def exact_losses(vae: VAE, images: np.ndarray, reach: float) -> np.ndarray | None:
    """Return −log p(x) = −log ∫ p(x|z) p(z) dz of each image, in nats, by quadrature.

    The integral is over a square, from −reach to reach in both latent dimensions.
    Returns None if the square is too large, or if the p(z|x) are too narrow.
    """
    last = vae.decoder.get_layer("logits")
    # log p(x|z) = x·logits − Σ softplus(logits) is linear in x. Where the logits are
    # K·h + b, it is (x·K)·h + x·b − Σ softplus: one short product per image and z.
    if type(last) is layers.Dense and last.activation is keras.activations.linear:
        inner = keras.Model(vae.decoder.input, last.input)
        kernel, bias = last.weights
    else:
        inner = vae.decoder
        kernel = None

    def terms(z):
        h = inner(z)
        logits = h if kernel is None else ops.matmul(h, kernel) + bias
        log_prior = log_normal(z, 0.0, ops.zeros_like(z))
        return h, log_prior - reconstruction_loss(0.0, logits)

    def project(batch):
        x = to_pixels(batch)
        if kernel is None:
            return x, ops.zeros(len(x))
        return ops.matmul(x, ops.transpose(kernel)), ops.sum(x * bias, axis=-1)

    g, offset = in_batches(project, images)
    size = max(1, DECODED // images[0].size)
    log_p = integrate(lambda z: in_batches(terms, z, size), g, reach)
    return None if log_p is None else -(log_p + offset)


def neighbors_vote(vae: VAE, shown: Shown, z_mean: np.ndarray) -> float | None:
    """Return the share of held-out labels that the nearest training images get right.

    NEIGHBORS of them vote, by their distance in latent space.
    """
    train = shown.train
    if shown.labels is None or train is None or train.labels is None:
        return None
    if len(train.labels) < NEIGHBORS or len(shown.class_names) < 2:
        return None
    tree = spatial.cKDTree(vae.encode(train.images)[0])
    _, nearest = tree.query(z_mean, NEIGHBORS)
    votes = stats.mode(train.labels[nearest], axis=1).mode
    return float((votes == shown.labels).mean())


def image_losses(
    vae: VAE, images: np.ndarray, samples: int = 200, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return arrays with an entry per image: z_mean, sigma and the losses in LABELS.

    "kl_per_dimension" has shape (n, latent_dim). "excess" is the loss less the entropy
    of the pixels. There is no "quadrature" or "gap".
    """
    z_mean, log_sigma = vae.encode(images)
    # Each dimension by itself: the sum over the last axis has one term.
    parameters = [ops.convert_to_tensor(p[..., None]) for p in (z_mean, log_sigma)]
    terms = ops.convert_to_numpy(kl_divergence(*parameters))
    kl = terms.sum(axis=1)
    reconstruction, estimate = sampled_losses(
        vae, images, z_mean, log_sigma, samples, seed
    )
    loss = reconstruction + vae.config.beta * kl
    return {
        "z_mean": z_mean,
        "sigma": np.exp(log_sigma),
        "kl_per_dimension": terms,
        "loss": loss,
        "negative_bound": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "importance_weighted": estimate,
        "excess": loss - in_batches(lambda batch: entropy(batch).sum(axis=1), images),
    }


def evaluate_images(
    vae: VAE, images: np.ndarray, samples: int = 200, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return image_losses and, of two latent dimensions, "quadrature" and "gap".

    They are missing if exact_losses has no result.
    """
    losses = image_losses(vae, images, samples, seed)
    z_mean = losses["z_mean"]
    if z_mean.shape[1] == 2:
        reach = max(5.0, np.abs(z_mean).max() + 1)
        if (exact := exact_losses(vae, images, reach)) is not None:
            gap = losses["negative_bound"] - exact
            losses |= {"quadrature": exact, "gap": gap}
    return losses


def compare(
    vae: VAE, settings: dict, shown: Shown, excess: np.ndarray, options: Options
) -> list | None:
    """Return roc_rows of images, and a row for an all-black one.

    They are compared with the held-out images of the model's own classes. Returns None
    if those cannot be loaded, or if all images are of those classes.
    """
    only, samples, seed = vae.config.only, options.samples, options.seed
    labels = shown.labels
    if shown.held_out:  # The model's own are among them.
        if not only:
            return None
        known = np.isin(np.array(shown.class_names)[labels], only)
        ordinary, excess, labels = excess[known], excess[~known], labels[~known]
        if not len(excess):
            return None
    else:
        try:
            own = load_images(settings, options.weights)
        except UserError as error:
            note(f"no ROC areas: {error}")
            return None
        if not own.held_out:
            note("no ROC areas: the model's own images have changed since its training")
            return None
        ordinary = image_losses(vae, own.images, samples, seed)["excess"]
    black = np.zeros((1, *vae.image_shape), "uint8")
    black = image_losses(vae, black, samples, seed)["excess"]
    rows = roc_rows(excess, labels, shown.class_names, ordinary)
    return [*rows, roc_row("an all-black image", black, ordinary)]


def is_binary(images: np.ndarray) -> bool:
    """Return whether all pixels are black or white."""
    batches = np.array_split(images, len(images) // 100 + 1)  # to save memory
    return all(((batch == 0) | (batch == 255)).all() for batch in batches)


def summarize(vae: VAE, shown: Shown, images: dict, samples: int) -> dict:
    """Return what the script prints: losses are pairs of mean and standard error."""
    count = len(shown.images)
    losses = dict.fromkeys(LABELS)
    variances = images["z_mean"].var(axis=0)
    active = int((variances > ACTIVE).sum()) if count > 1 else None
    for name in losses.keys() & images.keys():
        error = images[name].std() / count**0.5
        losses[name] = [float(images[name].mean()), float(error)]
    return {
        "images": count,
        "held_out": shown.held_out,
        "binary": is_binary(shown.images),
        "samples": samples,
        "beta": vae.config.beta,
        "noise": vae.config.noise,
        **losses,
        "kl_per_dimension": images["kl_per_dimension"].mean(axis=0).tolist(),
        "active_dimensions": active,
        "neighbors_vote": neighbors_vote(vae, shown, images["z_mean"]),
    }


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    path, source = options.weights, options.data
    shown = load_images(settings, path, source, keep_train=True)
    losses = evaluate_images(vae, shown.images, options.samples, options.seed)
    summary = summarize(vae, shown, losses, options.samples)
    if source:
        summary["roc"] = compare(vae, settings, shown, losses["excess"], options)
    if options.json:
        with files.replacing(options.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")
        print(f"wrote {options.json}")
    if options.csv:
        more = {"part": "test"} if options.all else {}
        rows = table(shown, shown.class_names, losses, more)
        if options.all and shown.train:
            images = shown.train.images
            losses = image_losses(vae, images, options.samples, options.seed)
            rows += table(shown.train, shown.class_names, losses, {"part": "train"})
        rows.sort(key=lambda row: -float(row["excess"]))  # the oddest first
        files.write_table(options.csv, rows)
        first = ", ".join(printable(row["file"]) for row in rows[:3])
        print(
            f"wrote {options.csv}, {len(rows):,} images, the oddest first: {first}, …"
        )
    print_report(summary, shown.kind)


if __name__ == "__main__":
    cli.run(main, Options)
