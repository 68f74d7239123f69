"""support/backend, noise, speed.py: random numbers, orders, the three backends."""

import itertools
import os
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import BACKENDS, ROOT, bars, on, save_untrained
from scipy import stats

import vae_mnist
from support import backend, noise, speed
from support.backend import keras, layers, ops

BATCH, STEPS, SIGMA = 100, 30, 0.05
INTENSITIES = np.arange(256) / 255  # of the pixels of every image


class Recorder(keras.Model):
    """Trains nothing, but keeps its outputs at every step of `fit`."""

    def __init__(self, inputs, outputs, batch, generator=None):
        super().__init__(inputs, outputs)
        self.generator = generator or keras.random.SeedGenerator(0)
        shape = (STEPS, batch, *inputs.shape[1:])
        self.kept = [self.add_weight(shape=shape, trainable=False) for _ in outputs]

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        outputs = keras.tree.flatten(y_pred)
        for kept, output in zip(self.kept, outputs, strict=True):
            kept.assign(ops.concatenate([kept[1:], output[None]]))
        return 0 * sum(ops.sum(output) for output in outputs)

    def record(self, x, batch, seed=0, epochs=range(1)):
        """Return what `fit` makes of x, each (STEPS, batch, values), as users train."""
        steps = len(x) // batch
        self.compile("sgd", **speed.compile_options(self, batch, steps))
        self.fit(
            **speed.shuffled(x, batch, seed, epochs),
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            callbacks=[speed.SeedEpoch(seed)],
            verbose=0,
        )
        return [ops.convert_to_numpy(kept) for kept in self.kept]


@pytest.fixture(scope="module")
def drawn():
    """Return sampled pixels and noisy pixels, each (STEPS, BATCH, pixels)."""
    x, generator = keras.Input(INTENSITIES.shape), keras.random.SeedGenerator(0)
    arguments = {"seed": generator}
    outputs = [layers.Lambda(noise.sample_pixels, arguments=arguments)(x)]
    arguments = {"seed": generator, "stddev": SIGMA}
    outputs.append(layers.Lambda(noise.add_noise, arguments=arguments)(x))
    images = np.tile(np.float32(INTENSITIES), (STEPS * BATCH, 1))
    return Recorder(x, outputs, BATCH, generator).record(images, BATCH)


def test_noise_is_normal_and_clipped(drawn):
    gray = slice(96, 160)  # far from black and white
    draws = ((drawn[1] - INTENSITIES) / SIGMA)[..., gray].ravel()
    assert draws.mean() == pytest.approx(0, abs=5 / np.sqrt(draws.size))
    assert draws.std() == pytest.approx(1, abs=5 / np.sqrt(2 * draws.size))
    assert stats.kstest(draws, "norm").pvalue > 1e-6
    # At black and white, half of it is clipped.
    assert (drawn[1].min(), drawn[1].max()) == (0, 1)
    for pixel, limit in (0, 0), (-1, 1):
        clipped = (drawn[1][..., pixel] == limit).mean()
        assert clipped == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(STEPS * BATCH))


def test_pixels_are_white_as_often_as_they_are_bright(drawn):
    assert set(np.unique(drawn[0])) == {0, 1}
    white, count = drawn[0].sum(axis=(0, 1)), STEPS * BATCH
    assert (white[0], white[-1]) == (0, count)
    p = INTENSITIES[1:-1]
    squares = (white[1:-1] - count * p) ** 2 / (count * p * (1 - p))
    assert stats.chi2.cdf(squares.sum(), len(p)) == pytest.approx(0.5, abs=0.4999)


@pytest.mark.parametrize("which", [0, 1])
def test_draws_are_independent(drawn, which):
    draws = drawn[which][..., 64:192]  # The darkest and brightest hardly vary.
    draws = draws - draws.mean(axis=(0, 1))
    # Between steps, between the images of a batch, between pixels.
    for rows in draws, draws.swapaxes(0, 1), draws.transpose(2, 0, 1):
        rows = rows.reshape(len(rows), -1)
        correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
        # 6 standard errors: of 8,000 pairs, chance reaches that in 1 of 10⁵ runs.
        assert np.abs(correlations).max() < 6 / np.sqrt(rows.shape[1])


def order(seed=0, first=0):
    """Return the numbers of 30 images in the order of each epoch, up to the third."""
    x = keras.Input([1])
    numbers = np.arange(30, dtype="float32")[:, None]
    (kept,) = Recorder(x, [x], 3).record(numbers, 3, seed, range(first, 3))
    return kept.reshape(3, 30)[first:].tolist()


def test_every_epoch_takes_every_image_once_in_an_order_of_its_own():
    epochs = order()
    for one in epochs:
        assert sorted(one) == list(range(30))
    assert len({tuple(one) for one in [*epochs, range(30)]}) == 4
    # The order depends on the seed and the epoch alone, whatever came before.
    assert order(first=2) == epochs[2:]
    assert order(seed=1, first=2) != epochs[2:]


def test_no_two_seeds_or_epochs_share_their_noise():
    x, seen = keras.Input([1]), set()
    model = Recorder(x, [x], 1)
    for seed, epoch in itertools.product(range(3), range(3)):
        callback = speed.SeedEpoch(seed)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        seen.add(float(keras.random.normal([1], seed=model.generator)[0]))
    assert len(seen) == 9


def test_dropout_depends_on_the_seed_and_the_epoch_alone():
    """Also the layer that a learner adds: a resumed run draws as an unbroken one."""

    def third_epoch(seed, first):
        x = keras.Input([40])
        recorder = Recorder(x, [layers.Dropout(0.5)(x)], 3)
        ones = np.ones((30, 40), "float32")
        return recorder.record(ones, 3, seed, range(first, 3))[0][-10:]

    whole = third_epoch(0, 0)
    assert set(np.unique(whole)) == {0, 2}
    np.testing.assert_array_equal(third_epoch(0, 2), whole)
    assert (third_epoch(1, 2) != whole).any()


@pytest.mark.parametrize(
    ("parameters", "steps", "fine", "expected"),
    [
        (400_000, 600, False, 100),
        (400_000, 600, True, 6),
        (400_000, 550, True, 5),  # no hundredth is skipped
        (400_000, 150, False, 75),  # no step is left over
        (5_000_000, 3000, False, 10),  # so that Ctrl-C does not take long
        (10**9, 3000, False, 1),
    ],
)
def test_steps_per_call(parameters, steps, fine, expected):
    model = types.SimpleNamespace(count_params=lambda: parameters)
    options = speed.compile_options(model, 100, steps, fine)
    if backend.BACKEND == "torch":
        assert options == {}
    else:
        assert options == {"jit_compile": True, "steps_per_execution": expected}


@pytest.mark.skipif(backend.BACKEND != "tensorflow", reason="is about TensorFlow")
def test_tensorflows_own_functions_stay_as_they_are():
    import tensorflow as tf

    before = tf.random.stateless_normal, tf.random.stateless_uniform
    vae = vae_mnist.VAE((4, 4), vae_mnist.Config((3,), noise=0.5, binarize=True))
    vae_mnist.compile_vae(vae, 10)
    assert (tf.random.stateless_normal, tf.random.stateless_uniform) == before


def test_binarized_images_are_the_same_at_every_call_and_as_white_as_they_are_bright():
    images = np.full((2500, 4, 4), 51, "uint8")
    images[:, 0], images[:, 1] = 0, 255
    white, again, other = images.copy(), images.copy(), images.copy()
    for copy, seed in (white, 0), (again, 0), (other, 1):
        noise.binarize(copy, seed)
    assert white.dtype == np.uint8 and set(np.unique(white)) == {0, 255}
    assert (white[:, 0] == 0).all() and (white[:, 1] == 255).all()
    # 20,000 pixels with p = 0.2: five standard deviations are 0.014.
    assert (white[:, 2:] == 255).mean() == pytest.approx(0.2, abs=0.014)
    np.testing.assert_array_equal(white, again)
    assert (white != other).any()
    assert (white[:1000] != white[1000:2000]).any()


START = """
import os, sys
{before}
import support.backend
os.write(2, b"and then")
"""


def start(before="", **env):
    code = START.format(before=before)
    env = on(backend.BACKEND) | env
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env)
    return done.returncode, done.stderr.decode()


def test_keras_starts_without_a_word_unless_it_fails_or_a_gpu_is_there(tmp_path):
    assert start() == (0, "and then")
    chatter = 'os.write(2, b"why no GPU is used. ")'
    (tmp_path / "keras.py").write_text(f"import os\n{chatter}\nops = layers = None")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    status, stderr = start(PYTHONPATH=path)
    assert status == 1 and stderr.startswith("Traceback")  # It has no `backend`.
    driver = "import shutil; shutil.which = lambda name: '/usr/bin/' + name"
    assert start(driver, PYTHONPATH=path)[1].startswith("why no GPU is used. Traceb")
    (tmp_path / "keras.py").write_text(f"import os\n{chatter}\nraise ImportError")
    assert start(PYTHONPATH=path)[1].startswith("why no GPU is used. Traceback")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_keras_starts_without_a_standard_error():
    command = f"exec {sys.executable} -c 'import support.backend; print(1)' 2>&-"
    done = subprocess.run(command, shell=True, stdout=-1, env=on(backend.BACKEND))
    assert (done.returncode, done.stdout) == (0, b"1\n")


READ = """
import sys, numpy as np, vae_mnist
path, images, output = sys.argv[1:]
vae, _ = vae_mnist.load_vae(path)
z_mean, log_sigma = vae.encode(np.load(images))
np.savez(output, z_mean=z_mean, log_sigma=log_sigma, decoded=vae.decode(z_mean))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_weights_mean_the_same_on_each_backend(here, name):
    vae, images = vae_mnist.VAE((12, 12), vae_mnist.Config((16, 8))), bars(60, 1)[0]
    save_untrained(vae, "a.weights.h5", "mnist")
    np.save("images.npy", images)
    command = [sys.executable, "-c", READ, "a.weights.h5", "images.npy", "read.npz"]
    subprocess.run(command, env=on(name), check=True)
    z_mean, log_sigma = vae.encode(images)
    expected = {"z_mean": z_mean, "log_sigma": log_sigma}
    expected["decoded"] = vae.decode(z_mean)
    with np.load("read.npz") as read:
        for key, array in expected.items():
            np.testing.assert_allclose(read[key], array, rtol=0, atol=1e-5)
