"""support/quadrature.py: integrals whose value is known."""

import numpy as np
import pytest

from support import quadrature
from support.quadrature import integrate

RNG = np.random.default_rng(0)


def gaussian(sigma):
    """Return the terms of exp(g·z − |z|²/2σ²), and log of its integral, by g."""

    def terms(z):
        return z, -(np.float64(z) ** 2).sum(axis=1) / (2 * sigma**2)

    def exact(g):
        return np.log(2 * np.pi * sigma**2) + sigma**2 * (g**2).sum(axis=1) / 2

    return terms, exact


@pytest.mark.parametrize("sigma", [1, 0.3, 0.1, 0.03, 0.01])
def test_gaussians_wherever_they_are(sigma):
    terms, exact = gaussian(sigma)
    g = RNG.uniform(-2, 2, (300, 2)) / sigma**2
    found = integrate(terms, g, 2 + 6 * sigma)
    np.testing.assert_allclose(found, exact(g), atol=0.03)
    assert np.abs(found - exact(g)).mean() < 0.01


def test_several_peaks_of_different_width():
    """One is wide; the other, with as much mass, is seen by smaller cells only."""
    sigmas, middles = (0.5, 0.02), np.array([[-1.5, 0.3], [1.234, -1.071]])

    def terms(z):
        logs = [
            -(np.float64(z - m) ** 2).sum(axis=1) / (2 * s**2)
            - np.log(2 * np.pi * s**2)
            for s, m in zip(sigmas, middles, strict=True)
        ]
        return np.zeros((len(z), 1)), np.logaddexp(*logs)

    (found,) = integrate(terms, np.ones((1, 1)), 4.0)
    assert found == pytest.approx(np.log(2), abs=0.02)


def test_blocks_and_parts_do_not_matter(monkeypatch):
    terms, _ = gaussian(0.03)
    g = RNG.uniform(-2, 2, (40, 2)) / 0.03**2
    whole = integrate(terms, g, 3.0)
    monkeypatch.setattr(quadrature, "NUMBERS", 5000)
    np.testing.assert_allclose(integrate(terms, g, 3.0), whole, atol=1e-5)


@pytest.mark.parametrize("reach", [32, 1e9, np.inf, np.nan])
def test_a_square_can_be_too_large(reach):
    assert integrate(None, np.ones((1, 2)), reach) is None


def test_functions_can_be_too_sharp():
    terms, _ = gaussian(1e-6)
    g = RNG.uniform(-2, 2, (40, 2)) / 1e-12
    assert integrate(terms, g, 3.0) is None
