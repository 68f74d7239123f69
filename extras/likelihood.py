"""Estimates of −log p(x), in nats: by importance sampling and by quadrature."""

import math

import numpy as np

from support.backend import Tensor, in_batches, keras, layers, ops, to_pixels
from support.errors import progress
from support.quadrature import integrate
from vae_mnist import VAE, reconstruction_loss, sample_latent

DECODED = 10_000 * 28**2  # pixels decoded at once, which bounds the memory


def log_normal(z: Tensor, mean: Tensor | float, log_sigma: Tensor) -> Tensor:
    """Return log N(z; mean, diag(σ²)), over the last axis; log_sigma is log σ."""
    squares = ((z - mean) / ops.exp(log_sigma)) ** 2 + math.log(2 * math.pi)
    return -ops.sum(squares / 2 + log_sigma, axis=-1)


def importance_weights(
    vae: VAE,
    x: Tensor,
    labels: np.ndarray | None,
    z_mean: Tensor,
    z_log_sigma: Tensor,
    samples: int,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    """Draw z ~ q(z|x) and weight the draws: Burda et al. 2015, equation 8.

    x: pixels in [0, 1], (n, pixels). labels: for a conditional VAE, (n,). seed: a
    keras.random.SeedGenerator.
    Returns −log p(x|z) and log w = log p(x|z) + log p(z) − log q(z|x), in nats, both
    (n, samples).
    """
    shape = (len(x), samples, z_mean.shape[1])
    mean = ops.broadcast_to(z_mean[:, None], shape)
    log_sigma = ops.broadcast_to(z_log_sigma[:, None], shape)
    z = sample_latent([mean, log_sigma], seed)
    if labels is not None:
        labels = np.repeat(labels, samples)
    logits = vae.decoder(vae.with_label(ops.reshape(z, (-1, shape[2])), labels))
    logits = ops.reshape(logits, (*shape[:2], -1))
    reconstruction = reconstruction_loss(ops.expand_dims(x, 1), logits)
    log_p, log_q = log_normal(z, 0.0, ops.zeros_like(z)), log_normal(z, mean, log_sigma)
    return reconstruction, log_p - log_q - reconstruction


def sampled_losses(
    vae: VAE,
    images: np.ndarray,
    labels: np.ndarray | None,
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
        given = None if labels is None else labels[batch]
        arrays = to_pixels(images[batch]), given, z_mean[batch], z_log_sigma[batch]
        draws = importance_weights(vae, *arrays, samples, generator)
        reconstruction, log_w = map(ops.convert_to_numpy, draws)
        reconstructions.append(reconstruction.mean(axis=1))
        estimates.append(math.log(samples) - np.logaddexp.reduce(log_w, axis=1))
    return np.concatenate(reconstructions), np.concatenate(estimates)


def exact_losses(
    vae: VAE, images: np.ndarray, reach: float, label: int | None = None
) -> np.ndarray | None:
    """Return −log p(x) = −log ∫ p(x|z) p(z) dz of each image, in nats, by quadrature.

    The integral is over a square, from −reach to reach in both latent dimensions.
    label: of all images, for a conditional VAE: then it is −log p(x|label).
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
        h = inner(vae.with_label(z, np.full(len(z), label)))
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
    log_p = integrate(lambda z: in_batches(terms, z, size=size), g, reach)
    return None if log_p is None else -(log_p + offset)
