"""--noise and --binarize: the numbers that compiled training steps draw."""

import numpy as np
import pytest
from scipy import stats

from support.backend import keras, ops, set_seed, speed
from vae_mnist import VAE

BATCH, STEPS = 100, 30
INTENSITIES = np.arange(256, dtype="uint8")  # of the pixels of every image


class Recorder(keras.Model):
    """Trains nothing, but keeps what its output is at every step of `fit`."""

    def __init__(self, inputs, output):
        super().__init__(inputs, output)
        shape = (STEPS, BATCH, len(INTENSITIES))
        self.kept = self.add_weight(shape=shape, trainable=False, name="kept")

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        self.kept.assign(ops.concatenate([self.kept[1:], y_pred[None]]))
        return 0 * ops.sum(y_pred)


def record(layer, seed=0, **options):
    """What a layer of a VAE, by its class, makes of INTENSITIES at every step.

    Returns float32, shape (STEPS, BATCH, pixels).
    """
    images = np.tile(INTENSITIES.reshape(16, 16), (STEPS * BATCH, 1, 1))
    set_seed(seed)
    vae = VAE((16, 16), hidden=[4], **options)
    output = next(each.output for each in vae.layers if isinstance(each, layer))
    recorder = Recorder(vae.input, output)
    recorder.compile("sgd", **speed(vae, BATCH, STEPS))
    recorder.fit(images, batch_size=BATCH, verbose=0)
    return ops.convert_to_numpy(recorder.kept)


def noise(seed=0):
    seen = record(keras.layers.GaussianNoise, seed, noise=0.5)
    return (seen - INTENSITIES / np.float32(255)) / 0.5


def pixels(seed=0):
    return record(keras.layers.Lambda, seed, binarize=True)


def assert_independent(rows):
    """No row's numbers can be told from another's: shape (rows, numbers)."""
    rows = rows.reshape(len(rows), -1)
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    # 6 standard errors: of 32,640 pairs, chance takes one there in 10⁴ runs.
    assert np.abs(correlations).max() < 6 / np.sqrt(rows.shape[1])


def test_noise_is_normal():
    draws = noise().ravel()
    assert draws.mean() == pytest.approx(0, abs=5 / np.sqrt(draws.size))
    assert draws.std() == pytest.approx(1, abs=5 / np.sqrt(2 * draws.size))
    assert stats.kstest(draws, "norm").pvalue > 1e-6


def test_pixels_are_white_as_often_as_they_are_bright():
    draws = pixels()
    assert set(np.unique(draws)) == {0, 1}
    white, count = draws.sum(axis=(0, 1)), STEPS * BATCH
    assert (white[0], white[-1]) == (0, count)
    p = INTENSITIES[1:-1] / 255
    squares = (white[1:-1] - count * p) ** 2 / (count * p * (1 - p))
    assert stats.chi2.cdf(squares.sum(), len(p)) == pytest.approx(0.5, abs=0.4999)


@pytest.mark.parametrize("draw", [noise, pixels])
def test_draws_are_independent(draw):
    draws = draw()[..., 64:192]  # The darkest and brightest pixels hardly vary.
    draws = draws - draws.mean(axis=(0, 1))
    assert_independent(draws)  # steps
    assert_independent(draws.swapaxes(0, 1))  # images of a batch
    assert_independent(draws.transpose(2, 0, 1))  # pixels


@pytest.mark.parametrize("draw", [noise, pixels])
def test_draws_come_from_the_seed(draw):
    first = draw(seed=1)
    np.testing.assert_array_equal(draw(seed=1), first)
    assert (draw(seed=2) != first).mean() > 0.2
