"""The path gradient of the KL term, with --path-gradient.

Roeder, Wu & Duvenaud 2017, Sticking the Landing: Simple, Lower-Variance Gradient
Estimators for Variational Inference, arXiv:1703.09194.
"""

from support.backend import Tensor, ops


def path_gradient(kl: Tensor, outputs: dict[str, Tensor], config) -> Tensor:
    """Return kl, (n,), with another gradient that has the same mean.

    outputs: those of the VAE. log q(z|x) − log p(z), for the z that was drawn, has the
    mean kl. Its gradient is taken through z only; what that leaves out, the slope of
    log q in z_mean and σ, is 0 in the mean. This adds noise, but with β = 1 it is noise
    that cancels the reconstruction's, the better q(z|x) fits the true posterior.
    Without --path-gradient, return kl as it is.
    """
    if not config.path_gradient:
        return kl
    z = outputs["z"]
    z_mean = ops.stop_gradient(outputs["z_mean"])
    z_log_sigma = ops.stop_gradient(outputs["z_log_sigma"])
    epsilon = (z - z_mean) * ops.exp(-z_log_sigma)
    estimate = ops.sum(z**2 / 2 - epsilon**2 / 2 - z_log_sigma, axis=-1)
    return ops.stop_gradient(kl - estimate) + estimate
