"""The latent plane in cells, and the images that the page offers to search z for."""

import functools

import numpy as np
from scipy import special

from support import pictures
from support.backend import in_batches, keras, ops, to_pixels

Array = np.ndarray
SIDE = 128  # cells of the grid along either axis of the plane
MARGIN = 1.25  # to which the grid extends, around what the plane shows …
FAR = 12.0  # … but not where the prior vanishes


class Grid:
    """The plane of a VAE with two latent dimensions, in square cells.

    softplus: Σ softplus(logits) of each cell, which no image changes, (cells,). label:
    that a conditional VAE is given.
    """

    def __init__(self, vae: keras.Model, reach: float, label: int | None = None):
        self.size = 2 * min(MARGIN * reach, FAR)
        axis = (np.arange(SIDE) + 0.5) / SIDE * self.size - self.size / 2
        up, right = np.meshgrid(axis, axis, indexing="ij")  # from the lower left
        self.z = np.float32(np.stack([right.ravel(), up.ravel()], axis=1))

        def softplus(z):
            logits = vae.decoder(vae.with_label(z, np.full(len(z), label)))
            return ops.sum(ops.softplus(logits), axis=-1)

        self.softplus = in_batches(softplus, self.z)
        self.decoder = vae.decoder

    @functools.cached_property
    def hidden(self) -> Array:
        """The last hidden layer in each cell, in which logits are linear."""
        last = self.decoder.layers[-1].input
        return in_batches(keras.Model(self.decoder.input, last), self.z)

    def costs(self, images: Array) -> Array:
        """Return −log p(x|z) of images in all cells, (images, cells)."""
        x = ops.convert_to_numpy(to_pixels(images))
        kernel, bias = self.decoder.layers[-1].get_weights()
        return self.softplus - (x @ kernel.T) @ self.hidden.T - (x @ bias)[:, None]


def quick_picks(vae: keras.Model, images: Array) -> list[int]:
    """Return four images to search z for by hand.

    The encoder is right about the first. The true posterior of the second has another
    island, of half its mass. The encoder is most wrong about the last two. With more
    than two latent dimensions, and for a conditional VAE, the first four.
    """
    if vae.config.latent_dim != 2 or vae.class_names or len(images) < 4:
        return [i % len(images) for i in range(4)]
    z_mean, z_log_sigma = (array.astype(float) for array in vae.encode(images))
    reach = find_reach(z_mean)
    grid = Grid(vae, reach)
    inside = np.abs(grid.z).max(axis=1) < 0.9 * reach  # of what the page shows
    gap = np.zeros(len(images))  # KL(q(z|x) ‖ p(z|x)), roughly
    best = np.zeros(len(images))  # −log p(x|z)·p(z) at the best place of the map
    visible = np.zeros(len(images), bool)  # whether that place is in sight
    lost = np.zeros(len(images))  # nats more than that close to z_mean
    near = np.zeros(len(images))  # mass of p(z|x) close to z_mean …
    far = np.zeros(len(images))  # … and far from it
    for some in np.array_split(np.arange(len(images)), -(-len(images) // 100)):
        cost = grid.costs(images[some]) + (grid.z**2).sum(axis=1) / 2
        sigma = np.exp(z_log_sigma[some, None])
        apart = np.square((grid.z - z_mean[some, None]) / sigma).sum(axis=-1)
        log_p = special.log_softmax(-cost, axis=1)
        log_q = special.log_softmax(-apart / 2, axis=1)
        gap[some] = (np.exp(log_q) * (log_q - log_p)).sum(axis=1)
        best[some] = cost.min(axis=1)
        visible[some] = inside[cost.argmin(axis=1)]
        away = np.linalg.norm(grid.z - z_mean[some, None], axis=-1)
        width = sigma.max(axis=(1, 2))[:, None] + grid.size / SIDE
        lost[some] = np.where(away < 3 * width, cost, np.inf).min(axis=1) - best[some]
        near[some] = (np.exp(log_p) * (away < 3 * width)).sum(axis=1)
        far[some] = (np.exp(log_p) * (away > 6 * width)).sum(axis=1)
    right = np.where(best <= np.median(best), gap, np.inf).argmin()
    island = np.minimum(near, far).argmax()
    lost *= visible
    wrong = [i for i in np.argsort(-lost) if i not in (right, island)]
    return [int(i) for i in (right, island, *wrong[:2])]


def find_reach(points: Array) -> float:
    """Return how far the page's plane extends to each side."""
    return max(3.0, pictures.find_reach(points))
