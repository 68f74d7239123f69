"""The VAE of the page in NumPy, to compare with."""

import numpy as np
from conftest import gaussian_kl

import vae_mnist
from support.backend import set_seed

MEAN, VARIANCE = 0.25, 0.1875  # of the pixels, for the encoder's normalization


ACTIVATIONS = {
    "linear": lambda h: h,
    "tanh": np.tanh,
    "sigmoid": lambda h: 1 / (1 + np.exp(-h)),
    "relu": lambda h: np.maximum(h, 0),
    "elu": lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))),
    "silu": lambda h: h / (1 + np.exp(-h)),
}


def dense_layers(model):
    return [layer for layer in model.layers if hasattr(layer, "units")]


class Reference:
    """A VAE in NumPy's float64, with its weights rounded as in the page."""

    def __init__(self, vae, label=None, bits=16):
        """label: given to a conditional VAE, one for all images or for each."""
        self.vae = vae
        self.kind = f"float{bits}"
        self.label = label

    def labeled(self, x):
        if self.label is None:
            return x
        one_hot = np.eye(len(self.vae.class_names))[self.label]
        return np.hstack([x, np.broadcast_to(one_hot, (len(x), one_hot.shape[-1]))])

    def layer(self, layer, h):
        known = (weights.astype(self.kind) for weights in layer.get_weights())
        kernel, bias = (weights.astype(float) for weights in known)
        return ACTIVATIONS[layer.activation.__name__](h @ kernel + bias)

    def hidden(self, dense, h):
        """Return what the hidden layers make of h; every other one may be a gate."""
        step = 2 if self.vae.config.gated else 1
        for i in range(0, len(dense), step):
            h = np.prod([self.layer(layer, h) for layer in dense[i : i + step]], axis=0)
        return h

    def encode(self, images):
        x = np.float32(images.reshape(len(images), -1) / 255)  # as in Keras
        h = (np.float64(x) - MEAN) / VARIANCE**0.5 * 5 / x.shape[1] ** 0.5
        *hidden, z_mean, z_log_sigma = dense_layers(self.vae.encoder)
        h = self.hidden(hidden, self.labeled(h))
        return self.layer(z_mean, h), self.layer(z_log_sigma, h)

    def logits(self, z):
        *hidden, last = dense_layers(self.vae.decoder)
        return self.layer(last, self.hidden(hidden, self.labeled(z)))

    def decode(self, z):
        """Return gray levels, from 0 to 255."""
        shape = (len(z), *self.vae.image_shape)
        return 255 / (1 + np.exp(-self.logits(np.asarray(z)))).reshape(shape)

    def reconstruction(self, images, z):
        """Return −log p(x|z), shape (images, points)."""
        logits = self.logits(np.asarray(z))
        x = images.reshape(len(images), -1) / 255
        return np.logaddexp(0, logits).sum(axis=1) - x @ logits.T

    def bound(self, x, ellipse, nodes=16):
        """Return −ELBO of z_mean and z_log_sigma for one image, by quadrature."""
        z_mean, z_log_sigma = ellipse[:2], ellipse[2:]
        points, weights = np.polynomial.hermite_e.hermegauss(nodes)
        weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
        noise = np.stack(np.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 2)
        losses = self.reconstruction(x, z_mean + np.exp(z_log_sigma) * noise)
        return losses[0] @ weights + gaussian_kl(z_mean[None], z_log_sigma[None])[0]

    def negative_log_p(self, images, reach=8.0, side=200):
        """Return −log p(x) by quadrature over a grid."""
        axis = (np.arange(side) + 0.5) * 2 * reach / side - reach
        z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        log_prior = -np.square(z).sum(axis=1) / 2 - np.log(2 * np.pi)
        joint = log_prior - self.reconstruction(images, z)
        return -np.logaddexp.reduce(joint, axis=1) - 2 * np.log(2 * reach / side)


def make_vae(shape, seed=7, sharpen=1, classes=(), **options):
    """Return an untrained VAE, whose encoder spreads images over the plane."""
    set_seed(seed)
    options = {"hidden": (8,), "conditional": bool(classes)} | options
    vae = vae_mnist.VAE(shape, vae_mnist.Config(**options), classes)
    normalize = vae.encoder.get_layer("normalize")
    normalize.set_weights([np.full_like(w, MEAN) for w in normalize.get_weights()])
    normalize.variables[1].assign(np.full(normalize.variables[1].shape, VARIANCE))
    normalize.finalize_state()
    factors = [(vae.encoder.get_layer("z_mean"), 9), (vae.decoder.layers[-1], sharpen)]
    for layer, factor in factors:
        layer.set_weights([factor * weight for weight in layer.get_weights()])
    return vae
