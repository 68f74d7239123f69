"""Report how well a VAE models the held-out images, in nats per image.

    python -m extras.evaluate
    python -m extras.evaluate --samples 1000 --json report.json
    python -m extras.evaluate --csv images.csv     a line per image

The loss of training is only a bound on −log p(x). The report compares it with an
importance-weighted estimate, which gets closer with more samples, and for two latent
dimensions with the integral itself, so that the gap is known exactly.
"""

from dataclasses import dataclass
from typing import Annotated

from support import cli
from support.cli import AtLeast0, AtLeast1
from support.trained import Trained


@cli.options(__doc__)
@dataclass
class Options(Trained):
    samples: AtLeast1[int] = 200  # of z per image, for the importance-weighted estimate
    seed: AtLeast0[int] = 0  # of the samples
    json: Annotated[str, cli.writable(".json")] | None = None  # also write the report
    csv: cli.NewTable | None = None  # write a line per image to this file


import json
import math

import numpy as np
from rich.progress import track
from scipy import spatial, stats

from support import data, files, trained
from support.backend import Tensor, keras, ops, to_pixels
from support.errors import on_terminal
from vae_mnist import VAE, kl_divergence, load_vae, reconstruction_loss, sample_latent

NEIGHBORS = 5
ACTIVE = 0.01  # variance of z_mean above which Burda et al. call a dimension active
DECODED = 10_000  # latent points decoded at once, which bounds the memory
BAR = {"transient": True, "disable": not on_terminal()}  # of the progress bars
TOLERANCE = 0.05  # nats that halving the step of the quadrature may still change
POINTS = 1000  # of its grid, at most, along either axis
LABELS = {  # of the losses, as the report prints them
    "loss": "training loss, β = {beta:g}",
    "negative_bound": "negative bound, −ELBO",
    "reconstruction": "  reconstruction",
    "kl": "  KL divergence",
    "importance_weighted": "−log p(x), {samples} samples",
    "quadrature": "−log p(x), quadrature",
    "gap": "gap, KL(q(z|x) ‖ p(z|x))",
}


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
    vae: VAE, x: Tensor, z_mean: Tensor, z_log_sigma: Tensor, samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the reconstruction term and an estimate of −log p(x), in nats, (n,) each.

    The estimate is −log of the mean of `samples` importance weights. In expectation it
    is never below −log p(x), and falls with more samples (Burda et al., theorem 1).
    """
    generator = keras.random.SeedGenerator(seed)
    parts = min(len(x), math.ceil(len(x) * samples / DECODED))
    reconstructions, estimates = [], []
    for part in track(np.array_split(np.arange(len(x)), parts), "sampling", **BAR):
        arrays = x[part], z_mean[part], z_log_sigma[part]
        draws = importance_weights(vae, *arrays, samples, generator)
        reconstruction, log_w = map(ops.convert_to_numpy, draws)
        reconstructions.append(reconstruction.mean(axis=1))
        estimates.append(math.log(samples) - np.logaddexp.reduce(log_w, axis=1))
    return np.concatenate(reconstructions), np.concatenate(estimates)


def quadrature(vae: VAE, x: np.ndarray, reach: float, step: float) -> np.ndarray:
    """Return −log p(x) = −log ∫ p(x|z) p(z) dz of each image, in nats.

    Sum over a square grid of the latent plane, [−reach, reach] in both dimensions.
    """
    axis = np.arange(-reach, reach + step, step, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    parts = np.array_split(grid, max(1, len(grid) // 2000))
    log_p, x = np.full(len(x), -np.inf), ops.convert_to_tensor(x)
    for z in track([*map(ops.convert_to_tensor, parts)], "integrating", **BAR):
        logits = vae.decoder(z)
        log_prior = log_normal(z, 0.0, ops.zeros_like(z)) + 2 * math.log(step)
        # log p(x|z) is linear in x: one product for all images and points.
        black = reconstruction_loss(0.0, logits)
        joint = ops.matmul(x, ops.transpose(logits)) - black + log_prior
        log_p = np.logaddexp(log_p, ops.convert_to_numpy(ops.logsumexp(joint, axis=1)))
    return -log_p


def exact_losses(vae: VAE, x: np.ndarray, z_mean: np.ndarray) -> np.ndarray | None:
    """Return −log p(x) by quadrature, with steps halved until it changes no more."""
    reach, step, before = max(5.0, np.abs(z_mean).max() + 1), 0.1, np.inf
    while 2 * reach / step <= POINTS:
        losses = quadrature(vae, x, reach, step)
        if abs(losses.mean() - before) < TOLERANCE:
            return losses
        step, before = step / 2, losses.mean()
    return None


def neighbors_vote(vae: VAE, dataset: data.Dataset, z_mean: np.ndarray) -> float | None:
    """Return the share of held-out labels that the nearest training images get right.

    NEIGHBORS of them vote, by their distance in latent space.
    """
    known = dataset.y_train
    if known is None or dataset.y_test is None or len(known) < NEIGHBORS:
        return None
    tree = spatial.cKDTree(vae.encode(dataset.x_train)[0])
    _, nearest = tree.query(z_mean, NEIGHBORS)
    votes = stats.mode(known[nearest], axis=1).mode
    return float((votes == dataset.y_test).mean())


def evaluate_images(
    vae: VAE, images: np.ndarray, samples: int = 200, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return arrays with an entry per image: z_mean, sigma and the losses in LABELS.

    "kl_per_dimension" has shape (n, latent_dim). "quadrature" and "gap" are missing if
    exact_losses has no result.
    """
    x = ops.convert_to_numpy(to_pixels(images))
    z_mean, log_sigma = vae.encode(images)
    # Each dimension by itself: the sum over the last axis has one term.
    parameters = [ops.convert_to_tensor(p[..., None]) for p in (z_mean, log_sigma)]
    terms = ops.convert_to_numpy(kl_divergence(*parameters))
    kl = terms.sum(axis=1)
    reconstruction, estimate = sampled_losses(vae, x, z_mean, log_sigma, samples, seed)
    result = {"z_mean": z_mean, "sigma": np.exp(log_sigma), "kl_per_dimension": terms}
    result |= {
        "loss": reconstruction + vae.config.beta * kl,
        "negative_bound": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "importance_weighted": estimate,
    }
    if z_mean.shape[1] == 2 and (exact := exact_losses(vae, x, z_mean)) is not None:
        result |= {"quadrature": exact, "gap": reconstruction + kl - exact}
    return result


def summarize(vae: VAE, dataset: data.Dataset, images: dict, samples: int) -> dict:
    """Return what the script prints: losses are pairs of mean and standard error."""
    losses = dict.fromkeys(LABELS)
    variances = images["z_mean"].var(axis=0)
    active = int((variances > ACTIVE).sum()) if len(dataset.x_test) > 1 else None
    for name in losses.keys() & images.keys():
        error = images[name].std() / len(dataset.x_test) ** 0.5
        losses[name] = [float(images[name].mean()), float(error)]
    return {
        "images": len(dataset.x_test),
        "held_out": dataset.held_out,
        "binary": bool(np.isin(dataset.x_test, (0, 255)).all()),
        "samples": samples,
        "beta": vae.config.beta,
        "noise": vae.config.noise,
        **losses,
        "kl_per_dimension": images["kl_per_dimension"].mean(axis=0).tolist(),
        "active_dimensions": active,
        "neighbors_vote": neighbors_vote(vae, dataset, images["z_mean"]),
    }


def print_report(summary: dict) -> None:
    """Print a summary as a table, with what a reader must know about it."""
    kind = "held-out images" if summary["held_out"] else "images"
    print(f"{summary['images']:,} {kind}    nats per image ± standard error")
    kl = summary["kl_per_dimension"]
    active = summary["active_dimensions"]
    beta = summary["beta"]
    vote = summary["neighbors_vote"]
    for name, label in LABELS.items():
        if summary[name] and (name != "loss" or beta != 1):
            mean, error = summary[name]
            print(f"{label.format(**summary):28}{mean:10.2f} ± {error:.2f}")
    print("KL per latent dimension     ", *(f"{value:.2f}" for value in kl))
    if active is not None:
        print(f"active dimensions           {active} of {len(kl)}")
    if vote is not None:
        print(f"labels by {NEIGHBORS} neighbors       {vote:.1%}")
    if beta != 1:
        print(f"note: the bound is that of β = 1; training used β = {beta:g}")
    if summary["noise"]:
        print("note: training encoded noisy images; these are clean")
    if len(kl) == 2 and not summary["gap"]:
        print("note: no quadrature: the plane is too wide or too sharp for its grid")
    if active is not None and active < len(kl):
        print("note: in the others the posterior has collapsed: z is noise")
    if not summary["binary"]:
        print("note: gray pixels, so none of this compares with published")
        print("      log-likelihoods: train with --binarize for that")


def write_csv(path: str, dataset: data.Dataset, images: dict) -> None:
    """Write a line per image, sorted by loss, the highest first."""
    rows = []
    for i in np.argsort(-images["loss"], kind="stable"):
        row = {"index": i, "label": ""}
        if dataset.y_test is not None:
            row["label"] = dataset.class_names[dataset.y_test[i]]
        for name in "z_mean", "sigma":
            row |= {f"{name}_{j}": f"{z:.4f}" for j, z in enumerate(images[name][i])}
        for name in "reconstruction", "kl", "loss":
            row[name] = f"{images[name][i]:.4f}"
        rows.append(row)
    files.write_table(path, rows)


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    dataset = trained.load_images(settings, options.weights, options.data)
    images = evaluate_images(vae, dataset.x_test, options.samples, options.seed)
    summary = summarize(vae, dataset, images, options.samples)
    if options.json:
        with files.replacing(options.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")
    if options.csv:
        write_csv(options.csv, dataset, images)
    print_report(summary)


if __name__ == "__main__":
    cli.run(main, Options)
