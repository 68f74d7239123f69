"""Train a variational autoencoder (VAE) on images, without labels.

    python vae_mnist.py                        all of MNIST, 20 epochs
    python vae_mnist.py --latent-dim 20        a latent space of 20 dimensions
    python vae_mnist.py --data photos/         your own images
    python vae_mnist.py --resume               continue an interrupted run

The file follows an image through the model: pixels → encoder → (z_mean, z_log_sigma) →
sampling → decoder → loss. The trained weights go into one file, which plot_latent.py
and generate_grid.py read.

The model: Kingma & Welling 2013, Auto-Encoding Variational Bayes, arXiv:1312.6114.
"""

from dataclasses import dataclass
from typing import Literal

from support import cli


@dataclass
class Config:
    """The options of a run. Each field is also a command-line option."""

    # The model
    hidden: tuple[int, ...] = (256,)  # units per hidden layer; the decoder mirrors them
    latent_dim: int = 2  # dimensions of the latent space; two can be drawn
    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"  # of the hidden layers
    beta: float = 1.0  # weight of the KL term; 1 makes the loss the negative ELBO
    noise: float = 0.0  # standard deviation of noise added to the encoder's input
    binarize: bool = False  # sample each pixel as 0 or 1, at every step

    # The training
    epochs: int = 20  # passes over the training images
    batch_size: int | None = None  # images per step; None: 100, or 1 % of under 10,000
    learning_rate: float | None = None  # decays to 0; None: 0.001 / hidden layers
    seed: int = 0  # for all random numbers

    # The files
    data: str = "mnist"  # mnist, fashion_mnist, mnist_sample, FILE.npz or a folder
    image_size: int | None = None  # height and width of a folder's images; None: 28
    color: bool = False  # keep the colors of a folder's images
    weights: str = cli.WEIGHTS  # the file to write
    resume: bool = False  # continue an interrupted run
    log: str | None = None  # a CSV file to write, one line per epoch
    snapshots: str | None = None  # a folder for weights saved during training
    distributed: bool = False  # use all devices and machines (needs KERAS_BACKEND=jax)


if __name__ == "__main__":
    config = cli.parse(Config, __doc__)  # before the imports below, which take seconds

import math

import numpy as np

from support import backend, data, training, weights
from support.backend import Tensor, keras, layers, ops

# Encoder: x → q(z|x) = N(z_mean, diag(σ²))


def build_encoder(pixels: int, config: Config) -> keras.Model:
    """Return a Keras model from x, (n, pixels), to z_mean and z_log_sigma.

    Both have shape (n, latent_dim). z_log_sigma is log σ, not log σ².
    """
    x = keras.Input([pixels], name="x")
    # Standardize the pixels, then scale: an image of any size has a norm of about 5, at
    # which the hidden units do not saturate.
    h = layers.Normalization(axis=None, name="normalize")(x)
    h = layers.Rescaling(5 / math.sqrt(pixels))(h)
    for units in config.hidden:
        h = layers.Dense(units, config.activation)(h)
    z_mean = layers.Dense(config.latent_dim, name="z_mean")(h)
    # A small σ at the start, e⁻² ≈ 0.14, keeps ε from drowning out z_mean.
    z_log_sigma = layers.Dense(
        config.latent_dim,
        bias_initializer=keras.initializers.Constant(-2),
        name="z_log_sigma",
    )(h)
    return keras.Model(x, [z_mean, z_log_sigma], name="encoder")


# Sampling: q(z|x) → z


def sample_latent(parameters: list[Tensor], seed: keras.random.SeedGenerator) -> Tensor:
    """Return z = z_mean + σ·ε, the reparameterization of section 2.4.

    parameters: z_mean and z_log_sigma, each (n, latent_dim); gradients flow to both.
    """
    z_mean, z_log_sigma = parameters
    epsilon = keras.random.normal(ops.shape(z_mean), seed=seed)  # ε ~ N(0, I)
    return z_mean + ops.exp(z_log_sigma) * epsilon


# Decoder: z → p(x|z) = Bernoulli(sigmoid(logits))


def build_decoder(pixels: int, config: Config) -> keras.Model:
    """Return a Keras model from z, (n, latent_dim), to logits, (n, pixels)."""
    first, *others = reversed(config.hidden)
    # With Keras' small weights and zero biases, all units would start as nearly the
    # same function of so few inputs. Larger ones spread them over the latent space.
    stddev = math.sqrt(8 / config.latent_dim)
    z = keras.Input([config.latent_dim], name="z")
    h = layers.Dense(
        first,
        config.activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
        bias_initializer=keras.initializers.RandomNormal(stddev=stddev),
    )(z)
    for units in others:
        h = layers.Dense(units, config.activation)(h)
    logits = layers.Dense(pixels, name="logits")(h)
    return keras.Model(z, logits, name="decoder")


# Loss: reconstruction + KL, in nats per image


def reconstruction_loss(x: Tensor, logits: Tensor) -> Tensor:
    """Return −log p(x|z) of a Bernoulli decoder, in nats, shape (n,). Appendix C.1.

    With p = sigmoid(logit): −x·log p − (1 − x)·log(1 − p) = softplus(logit) − x·logit.
    For gray x, this is the mean over black and white pixels sampled with probability x.
    """
    return ops.sum(ops.softplus(logits) - x * logits, axis=-1)


def kl_divergence(z_mean: Tensor, z_log_sigma: Tensor) -> Tensor:
    """Return KL(q(z|x) ‖ N(0, I)), in nats, shape (n,). Appendix B."""
    return 0.5 * ops.sum(
        ops.exp(2 * z_log_sigma) + z_mean**2 - 1 - 2 * z_log_sigma, axis=-1
    )


# The whole model


class VAE(keras.Model):
    """A dense variational autoencoder with a Bernoulli decoder.

    Takes uint8 images, (n, H, W) or (n, H, W, 3). Returns everything the loss needs:
    x, z_mean, z_log_sigma and logits.
    """

    def __init__(self, image_shape: tuple[int, ...], config: Config):
        images = keras.Input(image_shape, dtype="uint8", name="images")
        x = layers.Flatten(data_format="channels_last")(images)  # → (n, pixels)
        x = layers.Rescaling(1 / 255)(x)
        if config.binarize:
            x = backend.random_layer(backend.sample_pixels, x)
        seen = x  # what the encoder sees; the loss compares with x
        if config.noise:
            seen = backend.random_layer(backend.add_noise, x, stddev=config.noise)

        pixels = math.prod(image_shape)
        encoder, decoder = build_encoder(pixels, config), build_decoder(pixels, config)
        z_mean, z_log_sigma = encoder(seen)
        # Passed in `arguments`, the generator is tracked by Keras: new ε at every step.
        seed = keras.random.SeedGenerator()
        sampling = layers.Lambda(
            sample_latent, (config.latent_dim,), arguments={"seed": seed}, name="z"
        )
        z = sampling([z_mean, z_log_sigma])
        logits = decoder(z)

        outputs = dict(x=x, z_mean=z_mean, z_log_sigma=z_log_sigma, logits=logits)
        super().__init__(images, outputs, name="vae")
        self.image_shape, self.config = tuple(image_shape), config
        self.encoder, self.decoder = encoder, decoder
        self.reconstruction = keras.metrics.Mean("reconstruction")
        self.kl = keras.metrics.Mean("kl")

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        """Return reconstruction + β·KL, averaged over the batch, in nats.

        With β = 1, the negative evidence lower bound: equation 10 with one z per image.
        An image is its own target, so Keras' arguments x and y are not used.
        """
        reconstruction = reconstruction_loss(y_pred["x"], y_pred["logits"])
        kl = kl_divergence(y_pred["z_mean"], y_pred["z_log_sigma"])
        self.reconstruction.update_state(reconstruction)
        self.kl.update_state(kl)
        return ops.mean(reconstruction + self.config.beta * kl)

    def adapt(self, images: np.ndarray) -> None:
        """Set the initial normalization and output biases from uint8 images.

        The encoder's normalization uses their mean and variance, and the decoder starts
        near their mean image: with a bias of log(p / (1 − p)), a pixel is white with
        probability p (Hinton 2010, A Practical Guide to Training Restricted Boltzmann
        Machines, section 8.1).
        """
        x = images.reshape(len(images), -1) / np.float32(255)
        self.encoder.get_layer("normalize").adapt(x)
        # Laplace's rule of succession: no p is 0 or 1.
        p = (x.sum(axis=0, dtype=float) + 1) / (len(x) + 2)
        self.decoder.get_layer("logits").bias.assign(np.log(p / (1 - p)))

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return z_mean and z_log_sigma, each (n, latent_dim), of uint8 images."""
        x = images.reshape(len(images), -1) / np.float32(255)
        z_mean, z_log_sigma = self.encoder(x)
        return ops.convert_to_numpy(z_mean), ops.convert_to_numpy(z_log_sigma)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Decode latent points: return each pixel's probability of being white."""
        probabilities = ops.convert_to_numpy(ops.sigmoid(self.decoder(z)))
        return probabilities.reshape(-1, *self.image_shape)


# Training


def train(
    vae: VAE,
    images: np.ndarray,
    held_out: np.ndarray,
    initial_epoch: int = 0,
    **fit_options,
) -> keras.callbacks.History:
    """Fit `vae` to images with RMSprop; `held_out` is used for evaluation only.

    Returns the history of Keras' fit: losses in nats per image, epoch by epoch.
    """
    config = vae.config
    batch_size = config.batch_size or backend.default_batch_size(len(images))
    steps = math.ceil(len(images) / batch_size)
    rate = config.learning_rate
    if rate is None:
        rate = 1e-3 / len(config.hidden)  # Deeper networks need smaller steps.
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps * config.epochs)
    vae.compile(
        keras.optimizers.RMSprop(schedule, momentum=0.9),
        **backend.compile_options(vae, batch_size, steps, bool(config.snapshots)),
    )
    epochs = range(initial_epoch, config.epochs)
    return vae.fit(
        **backend.shuffled(images, batch_size, config.seed, epochs),
        initial_epoch=initial_epoch,
        epochs=config.epochs,
        validation_data=(held_out,),
        validation_batch_size=batch_size,
        **fit_options,
    )


def load_vae(path: str = cli.WEIGHTS) -> tuple[VAE, dict]:
    """Return the VAE in a weights file, and the settings of its run."""
    settings, _ = weights.read(path)
    vae = VAE(settings["image_shape"], cli.make(Config, settings["config"]))
    weights.load(vae, path)
    return vae, settings


def main(config: Config) -> None:
    dataset = data.load(config.data, config.image_size, config.color)
    run = training.Run(config, dataset)
    backend.set_seed(config.seed)
    vae = VAE(dataset.x_train.shape[1:], run.config)
    vae.adapt(dataset.x_train)
    with run:  # With --resume, its callbacks load what the checkpoint holds.
        train(vae, run.images, run.held_out, **run.fit_options)
    run.report()


if __name__ == "__main__":
    cli.run(main, config)
