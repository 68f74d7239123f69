"""Reports how well a VAE models the held-out images, in nats per image.

    python evaluate.py
    python evaluate.py --samples 1000 --json report.json

The loss of training is only a bound on −log p(x). The report lays beside it an
importance-weighted estimate, which comes closer the more samples it draws, and for
two latent dimensions the integral itself: so the gap is known, not guessed.
"""

from support import command_line

SAMPLES = 200  # of z per image

if __name__ == "__main__":  # before the imports, which take seconds
    options = {
        "samples": (SAMPLES, "importance samples per image"),
        "json": (
            None,
            "write the report there, too (default: none)",
            command_line.file_ending_in(".json"),
        ),
    }
    tables = command_line.TRAINED_ON, command_line.SEED, options
    args = command_line.read(__doc__, *tables)

import json
import math

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from support import data, files
from support.backend import keras, ops
from support.progress import track
from vae_mnist import kl_divergence, load_vae, reconstruction_loss, sample_latent

NEIGHBOURS = 5
ACTIVE = 0.01  # variance of z_mean above which Burda et al. call a dimension active
DECODED = 10_000  # latent points decoded at once: bounds the memory
TOLERANCE = 0.05  # nats that halving the step of the quadrature may still change
POINTS = 1000  # of its grid, at most, along either axis


def log_normal(z, mean, log_sigma):
    """log N(z; mean, σ²I), summed over the last axis; log_sigma = log σ."""
    return -ops.sum(
        0.5 * ((z - mean) / ops.exp(log_sigma)) ** 2
        + log_sigma
        + 0.5 * np.log(2 * np.pi),
        axis=-1,
    )


def importance_weights(vae, pixels, z_mean, z_log_sigma, samples, seed):
    """Draws z ~ q(z|x) and weighs the draws, Burda et al. 2015, equation 8.

    pixels: shape (n, pixels), in [0, 1]; z_mean, z_log_sigma: shape (n, latent_dim).
    seed: a keras.random.SeedGenerator.
    Returns −log p(x|z) and log w = log p(x|z) + log p(z) − log q(z|x), both in nats, of
    shape (n, samples).
    """
    pixels = ops.convert_to_tensor(pixels)
    mean = ops.convert_to_tensor(z_mean[:, None])
    log_sigma = ops.convert_to_tensor(z_log_sigma[:, None])
    shape = (len(z_mean), samples, z_mean.shape[1])
    z = sample_latent(
        [ops.broadcast_to(mean, shape), ops.broadcast_to(log_sigma, shape)], seed
    )
    logits = vae.decoder(ops.reshape(z, (-1, shape[2])))
    logits = ops.reshape(logits, (*shape[:2], -1))
    reconstruction = reconstruction_loss(pixels[:, None], logits)
    prior = log_normal(z, 0.0, ops.zeros_like(z))
    return reconstruction, prior - log_normal(z, mean, log_sigma) - reconstruction


def sampled_losses(vae, pixels, z_mean, z_log_sigma, samples, seed):
    """Per image: the reconstruction term of the bound, and the estimate of −log p(x).

    The estimate is −log of the mean of `samples` importance weights. It is −log p(x)
    or above in expectation, and falls as the samples grow (Burda et al., theorem 1).
    Returns two arrays of shape (n,), in nats.
    """
    generator = keras.random.SeedGenerator(seed)
    # Few images at a time, and of many samples few at a time.
    parts = min(len(pixels), math.ceil(len(pixels) * samples / DECODED))
    rounds = np.array_split(np.arange(samples), math.ceil(samples / DECODED))
    reconstructions, estimates = [], []
    for part in track(np.array_split(np.arange(len(pixels)), parts), "sampling"):
        draws = [
            importance_weights(
                vae, pixels[part], z_mean[part], z_log_sigma[part], len(r), generator
            )
            for r in rounds
        ]
        reconstruction, log_w = (
            ops.concatenate(d, axis=1) for d in zip(*draws, strict=True)
        )
        reconstructions.append(ops.convert_to_numpy(ops.mean(reconstruction, axis=1)))
        log_mean = ops.logsumexp(log_w, axis=1) - np.log(samples)
        estimates.append(-ops.convert_to_numpy(log_mean))
    return np.concatenate(reconstructions), np.concatenate(estimates)


def quadrature(vae, pixels, reach, step):
    """−log p(x) = −log ∫ p(x|z) p(z) dz on a square grid over a latent plane.

    pixels: shape (n, pixels), in [0, 1]. The grid has steps of `step` and covers
    [−reach, reach] in both dimensions. Returns nats, shape (n,).
    """
    axis = np.arange(-reach, reach + step, step, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_p = np.full(len(pixels), -np.inf)
    pixels = ops.convert_to_tensor(pixels)
    for part in track(np.array_split(grid, max(1, len(grid) // 2000)), "integrating"):
        z = ops.convert_to_tensor(part)
        logits = vae.decoder(z)
        log_prior = log_normal(z, 0.0, ops.zeros_like(z)) + 2 * np.log(step)
        # log p(x|z) is linear in x: one product for all images and points.
        at_zero = reconstruction_loss(0.0, logits)
        joint = ops.matmul(pixels, ops.transpose(logits)) - at_zero + log_prior
        log_sum = ops.convert_to_numpy(ops.logsumexp(joint, axis=1))
        log_p = np.logaddexp(log_p, log_sum)
    return -log_p


def exact_losses(vae, pixels, z_mean):
    """−log p(x) by quadrature, its step halved until that changes less than TOLERANCE.

    Returns nats, shape (n,), or None where a grid of POINTS² points is too coarse.
    """
    reach = max(5.0, np.abs(z_mean).max() + 1)
    step, losses = 0.1, np.full(len(pixels), np.inf)
    while 2 * reach / step <= POINTS:
        before, losses = losses, quadrature(vae, pixels, reach, step)
        if abs(losses.mean() - before.mean()) < TOLERANCE:
            return losses
        step /= 2
    return None


def mean_and_error(values):
    """The mean of values per image, and its standard error."""
    return [float(np.mean(values)), float(np.std(values) / len(values) ** 0.5)]


def as_trained_on(vae, images, seed):
    """The images, or where the VAE was trained on drawn pixels, one draw of them.

    uint8 in and out. The VAE's own draws leave pixels of 0 and 255 as they are.
    """
    if not vae.binarize:
        return images
    draws = np.random.default_rng(seed).random(images.shape, "float32")
    return np.uint8(255) * (draws < images / np.float32(255))


def neighbours_vote(vae, dataset, z_mean, seed):
    """The share of held-out labels that the nearest training images vote for."""
    images = as_trained_on(vae, dataset.x_train, seed)
    known = vae.encoder.predict(images, batch_size=1000, verbose=0)["z_mean"]
    vote = KNeighborsClassifier(NEIGHBOURS).fit(known, dataset.y_train)
    return float(vote.score(z_mean, dataset.y_test))


def report(vae, dataset, samples=SAMPLES, seed=0):
    """All that the script prints, as a dict for JSON.

    Losses are pairs of mean and standard error over the held-out images, in nats.
    Where there is nothing to compute (few labels, not two dimensions, a plane too wide
    or too fine for a grid), None.
    """
    images = as_trained_on(vae, dataset.x_test, seed)
    pixels = images.reshape(len(images), -1) / np.float32(255)
    parameters = vae.encoder.predict(images, batch_size=1000, verbose=0)
    z_mean, z_log_sigma = parameters["z_mean"], parameters["z_log_sigma"]

    # One dimension at a time, for the sum over the last axis to be over nothing else.
    kl = ops.convert_to_numpy(
        kl_divergence(
            ops.convert_to_tensor(z_mean[..., None]),
            ops.convert_to_tensor(z_log_sigma[..., None]),
        )
    )
    reconstruction, estimate = sampled_losses(
        vae, pixels, z_mean, z_log_sigma, samples, seed
    )
    exact = None
    if z_mean.shape[1] == 2:
        exact = exact_losses(vae, pixels, z_mean)
        exact = None if exact is None else mean_and_error(exact)
    vote = None
    labelled = dataset.y_train is not None and dataset.y_test is not None
    if labelled and len(dataset.y_train) >= NEIGHBOURS:
        vote = neighbours_vote(vae, dataset, z_mean, seed)
    return {
        "images": len(images),
        "held_out": dataset.held_out,
        "binary": bool(np.isin(images, (0, 255)).all()),
        "samples": samples,
        "negative_bound": mean_and_error(reconstruction + kl.sum(axis=1)),
        "reconstruction": mean_and_error(reconstruction),
        "kl": mean_and_error(kl.sum(axis=1)),
        "importance_weighted": mean_and_error(estimate),
        "quadrature": exact,
        "kl_per_dimension": kl.mean(axis=0).tolist(),
        "active_dimensions": int((z_mean.var(axis=0) > ACTIVE).sum()),
        "neighbours_vote": vote,
    }


def print_report(result):
    """The report as a table, and what a reader must know about it."""
    kind = "held-out images" if result["held_out"] else "images"
    print(f"{result['images']:,} {kind}    nats per image ± standard error")
    for name, label in (
        ("negative_bound", "negative bound"),
        ("reconstruction", "  reconstruction"),
        ("kl", "  KL divergence"),
        ("importance_weighted", f"−log p(x), {result['samples']} samples"),
        ("quadrature", "−log p(x), quadrature"),
    ):
        if result[name]:
            mean, error = result[name]
            print(f"{label:28}{mean:10.2f} ± {error:.2f}")
    kl = result["kl_per_dimension"]
    active = result["active_dimensions"]
    print("KL per latent dimension     ", *(f"{value:.2f}" for value in kl))
    print(f"active dimensions           {active} of {len(kl)}")
    if result["neighbours_vote"] is not None:
        share = f"{result['neighbours_vote']:.1%}"
        print(f"labels by {NEIGHBOURS} neighbours      {share}")
    if len(kl) == 2 and result["quadrature"] is None:
        print("note: the plane is too wide or too finely drawn for the quadrature")
    if active < len(kl):
        print(
            f"warning: the posterior has collapsed in {len(kl) - active} of {len(kl)}"
            " dimensions: there z is noise, whatever the image"
        )
    if not result["binary"]:
        print(
            "note: the pixels are grey, not 0 or 1, so none of this is a log-likelihood"
            " to lay beside published ones: train with --binarize for that"
        )


def main(args):
    if args.json:
        files.check_place(args.json)
    vae, settings = load_vae(args.weights)
    dataset = data.load_again(settings, args.weights, args.data)
    result = report(vae, dataset, args.samples, args.seed)
    if args.json:
        with files.replacing(args.json) as part:
            part.write_text(json.dumps(result, indent=2) + "\n")
    print_report(result)


if __name__ == "__main__":
    command_line.run(main, args)
