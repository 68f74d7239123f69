"""The formulas of vae_mnist.py against independent oracles, in float64 NumPy."""

import keras
import numpy as np
import pytest

import vae_mnist

RNG = np.random.default_rng(0)


def apply(formula, *arrays):
    """A formula of the script, of NumPy's arrays: as tensors there and back."""
    tensors = [keras.ops.convert_to_tensor(np.float32(array)) for array in arrays]
    return keras.ops.convert_to_numpy(formula(*tensors))


def gaussian_log_density(z, mean, sigma):
    log_densities = -0.5 * ((z - mean) / sigma) ** 2 - np.log(
        sigma * (2 * np.pi) ** 0.5
    )
    return log_densities.sum(axis=-1)


def bernoulli_loss(pixels, logits):
    """−Σ x·log p + (1 − x)·log(1 − p), p = sigmoid(logits), by NumPy's logaddexp."""
    pixels, logits = np.float64(pixels), np.float64(logits)
    white, black = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return -(pixels * white + (1 - pixels) * black).sum(axis=-1)


def test_kl_is_zero_at_the_prior():
    kl = apply(vae_mnist.kl_divergence, np.zeros((3, 4)), np.zeros((3, 4)))
    np.testing.assert_array_equal(kl, np.zeros(3))


def test_kl_equals_monte_carlo():
    mean, sigma = (
        np.array([[0.5, -1.0], [2.0, 0.0]]),
        np.array([[0.3, 2.0], [1.5, 0.7]]),
    )
    z = mean + sigma * RNG.standard_normal((400_000, 2, 2))
    log_ratio = gaussian_log_density(z, mean, sigma) - gaussian_log_density(z, 0, 1)
    standard_error = log_ratio.std(axis=0) / len(z) ** 0.5
    kl = apply(vae_mnist.kl_divergence, mean, np.log(sigma))
    assert (np.abs(kl - log_ratio.mean(axis=0)) < 5 * standard_error).all()


@pytest.mark.parametrize("scale", [1, 50])
def test_reconstruction_equals_bernoulli(scale):
    logits = scale * RNG.choice([-1.0, -0.5, 0.0, 0.5, 1.0], (5, 30))
    for pixels in (RNG.random((5, 30)), RNG.integers(0, 2, (5, 30)).astype(float)):
        loss = apply(vae_mnist.reconstruction_loss, pixels, logits)
        np.testing.assert_allclose(loss, bernoulli_loss(pixels, logits), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 20])
def test_biases_of_the_log_odds_draw_the_mean_image(count):
    images = images_of(count, (2, 3, 3))
    images[:, 0, :, 0], images[:, 1, :, 2] = 0, 255
    drawn = 1 / (1 + np.exp(-vae_mnist.mean_log_odds(images)))
    white = sum(np.float64(image) / 255 for image in images)
    np.testing.assert_allclose(drawn, (white.ravel() + 1) / (count + 2), rtol=1e-12)


def test_the_more_pixels_are_white_the_smaller_are_the_encoders_steps():
    for size, grey, pace in (10, 255, 0.5), (20, 255, 0.5 * 110 / 400), (30, 0, 0.5):
        vae = vae_mnist.VAE((size, size), hidden=[4])
        vae.prepare(np.full((3, size, size), grey, "uint8"))
        assert vae.pace == pytest.approx(pace)
        bias = keras.ops.convert_to_numpy(vae.decoder.get_layer("logits").bias)
        white = (3 * grey / 255 + 1) / 5  # Laplace's rule of succession
        np.testing.assert_allclose(bias, np.log(white / (1 - white)), rtol=1e-5)


def test_pixels_keep_their_order_whatever_the_image_data_format():
    images = images_of(2, (2, 4, 3))
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        vae = vae_mnist.VAE((2, 4, 3), hidden=[4])
    finally:
        keras.config.set_image_data_format(before)
    pixels = keras.ops.convert_to_numpy(vae(images)["pixels"])
    np.testing.assert_allclose(pixels, images.reshape(2, -1) / 255, rtol=1e-6)


def test_sample_has_the_mean_and_sigma_of_the_posterior():
    mean, sigma = np.float32([3.0, -1.0]), np.float32([0.2, 2.5])
    count = 200_000
    parameters = [np.tile(mean, (count, 1)), np.tile(np.log(sigma), (count, 1))]
    seed = keras.random.SeedGenerator(0)
    z = apply(lambda *tensors: vae_mnist.sample_latent(tensors, seed), *parameters)
    assert (np.abs(z.mean(axis=0) - mean) < 5 * sigma / count**0.5).all()
    np.testing.assert_allclose(z.std(axis=0), sigma, rtol=0.01)
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.02


def images_of(count, shape=(6, 5)):
    return RNG.integers(0, 256, (count, *shape)).astype("uint8")


@pytest.mark.parametrize("latent_dim", [2, 20])
def test_the_decoder_starts_with_wide_independent_units(latent_dim):
    vae = vae_mnist.VAE((2, 2), hidden=[10_000], latent_dim=latent_dim)
    kernel, bias = vae.decoder.layers[1].get_weights()
    variance = 8 / latent_dim
    expected = variance * np.eye(latent_dim + 1)
    covariance = np.cov(np.vstack([kernel, bias]))
    np.testing.assert_allclose(covariance, expected, atol=0.1 * variance)


def test_noise_is_fresh_on_every_training_step():
    vae = vae_mnist.VAE((6, 5), hidden=[8])
    image = images_of(1)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["reconstruction"])
    )
    vae.compile(optimizer=keras.optimizers.RMSprop(0.0), jit_compile=True)
    vae.fit(np.repeat(image, 6, axis=0), batch_size=1, verbose=0, callbacks=[record])
    # Keras logs the mean so far; with the weights frozen, only the noise differs.
    steps = np.diff(np.arange(7) * np.append(0.0, seen))
    assert len(np.unique(steps.round(3))) == 6


def test_noise_is_fresh_on_every_epoch_of_train():
    vae = vae_mnist.VAE((6, 5), hidden=[8])
    images = images_of(3)
    history = vae_mnist.train(vae, images, images, 5, 3, learning_rate=0.0).history
    assert len(set(history["reconstruction"])) == 5
    assert len(set(np.round(history["kl"], 4))) == 1


def test_noise_is_fresh_on_every_predict():
    vae = vae_mnist.VAE((6, 5), hidden=[8])
    image = np.repeat(images_of(1), 4, axis=0)
    logits = [vae.predict(image, batch_size=2, verbose=0)["logits"] for _ in range(2)]
    assert len(np.unique(np.concatenate(logits)[:, 0])) == 8


def forward(vae, images):
    """z_mean, z_log_sigma and, for z = z_mean, logits: by NumPy in float64."""
    values = iter([np.float64(w) for w in vae.get_weights() if w.ndim])
    layers = [(kernel, next(values)) for kernel in values if kernel.ndim == 2]
    hidden, mean, log_sigma, decoder_hidden, logits = layers
    x = np.float64(images).reshape(len(images), -1) / 255
    h = np.tanh(x @ hidden[0] + hidden[1])
    z_mean = h @ mean[0] + mean[1]
    h_decoder = np.tanh(z_mean @ decoder_hidden[0] + decoder_hidden[1])
    return (
        z_mean,
        h @ log_sigma[0] + log_sigma[1],
        h_decoder @ logits[0] + logits[1],
    )


@pytest.mark.parametrize("batch_size", [1, 7, 20])
def test_loss_is_reconstruction_plus_beta_kl_per_image(batch_size):
    beta = 3.0
    vae = vae_mnist.VAE((6, 5), hidden=[8], beta=beta)
    kernel, bias = vae.get_layer("z_log_sigma").get_weights()
    # σ = e⁻²⁰ leaves no noise, so that NumPy can compute the same loss.
    vae.get_layer("z_log_sigma").set_weights([kernel, bias - 20])
    images = images_of(20)
    vae.compile()
    losses = vae.evaluate(images, batch_size=batch_size, verbose=0, return_dict=True)

    z_mean, z_log_sigma, logits = forward(vae, images)
    sigma = np.exp(z_log_sigma)
    kl = 0.5 * (sigma**2 + z_mean**2 - 1 - np.log(sigma**2)).sum(axis=-1).mean()
    reconstruction = bernoulli_loss(images.reshape(20, -1) / 255, logits).mean()
    assert losses["kl"] == pytest.approx(kl, rel=1e-4)
    assert losses["reconstruction"] == pytest.approx(reconstruction, rel=1e-4)
    assert losses["loss"] == pytest.approx(reconstruction + beta * kl, rel=1e-4)


@pytest.mark.usefixtures("without_xla")
def test_overfits_20_images():
    images = (255 * RNG.integers(0, 2, (20, 6, 5))).astype("uint8")
    keras.utils.set_random_seed(0)
    vae = vae_mnist.VAE((6, 5), hidden=[64], latent_dim=8, beta=0.01)
    many = np.tile(images, (50, 1, 1))  # 50 steps an epoch, for speed
    history = vae_mnist.train(vae, many, images, 16, 20, 3e-3).history
    assert history["reconstruction"][0] > 5  # 30 fair coins: 30·log 2 = 20.8 nats
    assert history["val_reconstruction"][-1] < 1


def test_binary_pixels_have_the_right_mean_and_are_drawn_anew():
    vae = vae_mnist.VAE((6, 5), hidden=[8], binarize=True)
    image = images_of(1)
    many = np.repeat(image, 20_000, axis=0)
    first, second = (
        vae.predict(many, batch_size=10_000, verbose=0)["pixels"] for _ in range(2)
    )
    assert set(np.unique(first)) == {0, 1}
    p = image.ravel() / 255
    assert (np.abs(first.mean(axis=0) - p) <= 5 * (p * (1 - p) / 20_000) ** 0.5).all()
    assert (first != second).mean() > 0.1


def test_denoising_compares_with_the_clean_image():
    vae = vae_mnist.VAE((6, 5), hidden=[8], noise=0.5)
    images = images_of(9)
    clean = images.reshape(9, -1) / 255
    noisy = [vae(images, training=True) for _ in range(2)]
    for outputs in noisy:
        np.testing.assert_allclose(outputs["pixels"], clean, rtol=1e-6)
    means = [keras.ops.convert_to_numpy(outputs["z_mean"]) for outputs in noisy]
    quiet = vae.encoder.predict(images, verbose=0)["z_mean"]
    assert (means[0] != means[1]).all()
    assert (means[0] != quiet).all()
    # The same encoder as without noise, once training is over.
    z_mean, _, _ = forward(vae, images)
    np.testing.assert_allclose(quiet, z_mean, rtol=1e-3, atol=1e-5)
