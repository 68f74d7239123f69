"""Train a variational autoencoder (VAE) on images.

    python vae_mnist.py                        all of MNIST, 20 epochs
    python vae_mnist.py --latent-dim 20        a latent space of 20 dimensions
    python vae_mnist.py --conditional          given the labels: ten digits in one hand
    python vae_mnist.py --data photos/         your own images
    python vae_mnist.py --resume               continue an interrupted run

The file follows an image through the model: pixels → encoder → (z_mean, z_log_sigma) →
sampling → decoder → loss. The trained weights go into one file, which plot_latent.py
and generate_grid.py read.

The model: Kingma & Welling 2013, Auto-Encoding Variational Bayes, arXiv:1312.6114.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

from support import cli
from support.cli import AtLeast0, AtLeast1, MayChange


@dataclass
class Hyperparameters:
    """What a trained model depends on. All of it is stored in the weights file."""

    # The model
    hidden: tuple[AtLeast1[int], ...] = (256,)  # units per layer, mirrored to decode
    latent_dim: AtLeast1[int] = 2  # dimensions of the latent space; two make a picture
    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"  # of the hidden layers
    beta: AtLeast0[float] = 1.0  # weight of KL; 1 makes the loss the negative ELBO

    # Variations: at first, skip gate, convolution, conditional, noise, path_gradient.
    gated: bool = False  # multiply each hidden unit by a sigmoid of its inputs
    network: Literal["dense", "conv"] = "dense"  # conv adds convolutions, for photos
    conditional: bool = False  # give both networks the label, which images then need
    noise: AtLeast0[float] = 0.0  # standard deviation of noise that the encoder sees
    binarize: bool = False  # sample each pixel as 0 or 1, at every step
    path_gradient: bool = False  # estimate KL's gradient from z, for long runs

    # The training
    epochs: MayChange[AtLeast1[int]] = 20  # passes over the training images
    batch_size: AtLeast1[int] | None = None  # by default 100, or 1% of a small set
    learning_rate: MayChange[AtLeast0[float]] | None = None  # 0.001, or less
    seed: AtLeast0[int] = 0  # for all random numbers
    data: MayChange[cli.Source] | None = None  # name, file or folder; by default mnist
    only: tuple[str, ...] | None = None  # classes to train on, by name; by default all
    image_size: cli.ImageSize | None = None  # height and width of pictures; 28
    color: bool = False  # keep the colors of pictures
    background: Literal["white", "black"] = "white"  # behind transparent pixels

    def stored(self) -> dict:
        """Return these options as a dictionary, without those that Config adds."""
        return {f.name: getattr(self, f.name) for f in fields(Hyperparameters)}

    def resolve(self, images: int) -> "Hyperparameters":
        """Return a copy with the defaults that depend on the data and other options."""
        resolved = replace(self)
        if self.batch_size is None:  # so that a small set trains for enough steps
            resolved.batch_size = min(100, max(1, images // 100))
        if self.learning_rate is None:
            # Deeper networks and longer runs need smaller steps: docs/results.md.
            depth = len(self.hidden)
            depth += len(convolution.CHANNELS) * (self.network == "conv")
            longer = max(1, self.epochs / 20)
            resolved.learning_rate = 1e-3 / depth / longer ** (1 / 3)
        return resolved


@cli.options(__doc__)
@dataclass
class Config(Hyperparameters):
    """The options of a run. Each field is also a command-line option."""

    weights: cli.NewWeights = cli.WEIGHTS  # the file to write
    resume: bool = False  # continue an interrupted run
    log: cli.NewTable | None = None  # a CSV file to write, one line per epoch
    snapshots: cli.NewFolder | None = None  # a folder for weights saved during training
    distributed: bool = False  # use all devices and machines (needs KERAS_BACKEND=jax)


import math  # Imported here, so that --help and mistakes do not wait for Keras.

import numpy as np

from support import conditional, convolution, data, noise, speed, training, weights
from support.backend import Inputs, Tensor, batched, keras, layers, ops, rows, to_pixels
from support.gates import gate
from support.gradients import path_gradient
from support.parts import Labels

# Encoder: x → q(z|x) = N(z_mean, diag(σ²))


def build_encoder(
    image_shape: tuple[int, ...], classes: int, config: Hyperparameters
) -> keras.Model:
    """Return a Keras model from x, (n, pixels), to z_mean and z_log_sigma.

    Both have shape (n, latent_dim). z_log_sigma is log σ, not log σ². classes: their
    number, 0 without --conditional.
    """
    x = keras.Input([math.prod(image_shape)], name="x")
    h = layers.Normalization(axis=None, name="normalize")(x)  # mean 0, variance 1
    if config.network == "conv":
        h = convolution.encode(h, image_shape, config)
    # The norm of standardized pixels is about the root of their number. Rescale it to 5
    # for images of any size, so that the hidden units do not saturate.
    h = layers.Rescaling(5 / math.sqrt(h.shape[1]))(h)
    h, inputs = conditional.append_label(h, x, classes)
    for units in config.hidden:
        values = layers.Dense(units, config.activation)(h)
        h = gate(values, h, config)
    z_mean = layers.Dense(config.latent_dim, name="z_mean")(h)
    # A small σ at the start, e⁻² ≈ 0.14, keeps ε from drowning out z_mean.
    z_log_sigma = layers.Dense(
        config.latent_dim,
        bias_initializer=keras.initializers.Constant(-2),
        name="z_log_sigma",
    )(h)
    return keras.Model(inputs, [z_mean, z_log_sigma], name="encoder")


# Sampling: q(z|x) → z


def sample_latent(parameters: list[Tensor], seed: keras.random.SeedGenerator) -> Tensor:
    """Return z = z_mean + σ·ε, the reparameterization of section 2.4.

    parameters: z_mean and z_log_sigma, each (n, latent_dim); gradients flow to both.
    """
    z_mean, z_log_sigma = parameters
    epsilon = keras.random.normal(ops.shape(z_mean), seed=seed)  # ε ~ N(0, I)
    return z_mean + ops.exp(z_log_sigma) * epsilon


# Decoder: z → p(x|z) = Bernoulli(sigmoid(logits))


def build_decoder(
    image_shape: tuple[int, ...], classes: int, config: Hyperparameters
) -> keras.Model:
    """Return a Keras model from z, (n, latent_dim), to logits, (n, pixels)."""
    first, *others = reversed(config.hidden)
    z = keras.Input([config.latent_dim], name="z")
    start, inputs = conditional.append_label(z, z, classes)

    # With Keras' small weights, zero biases and so few inputs, all units would start
    # out nearly identical. Larger weights spread them over the latent space.
    def spread():  # A new one each time: one object would repeat its numbers.
        return keras.initializers.RandomNormal(stddev=math.sqrt(8 / start.shape[1]))

    initializers = {"kernel_initializer": spread(), "bias_initializer": spread()}
    values = layers.Dense(first, config.activation, **initializers)(start)
    h = gate(values, start, config, spread)
    for units in others:
        values = layers.Dense(units, config.activation)(h)
        h = gate(values, h, config)
    if config.network == "conv":
        logits = convolution.decode(h, image_shape, config)
    else:
        logits = layers.Dense(math.prod(image_shape), name="logits")(h)
    return keras.Model(inputs, logits, name="decoder")


# Loss: reconstruction + KL, in nats per image


def reconstruction_loss(x: Tensor, logits: Tensor) -> Tensor:
    """Return −log p(x|z) of a Bernoulli decoder, in nats, shape (n,). Appendix C.1.

    With p = sigmoid(logit): −x·log p − (1 − x)·log(1 − p) = softplus(logit) − x·logit.
    For gray x, this is the mean over black and white pixels sampled with probability x.
    """
    return ops.sum(ops.softplus(logits) - x * logits, axis=-1)


def kl_divergence(z_mean: Tensor, z_log_sigma: Tensor) -> Tensor:
    """Return KL(q(z|x) ‖ N(0, I)), in nats, shape (n,). Appendix B."""
    variance = ops.exp(2 * z_log_sigma)  # σ²
    return 0.5 * ops.sum(variance + z_mean**2 - 1 - 2 * z_log_sigma, axis=-1)


# The whole model


@keras.saving.register_keras_serializable("vae_mnist")
class VAE(keras.Model):
    """A variational autoencoder with a Bernoulli decoder.

    Takes uint8 images, (n, H, W) or (n, H, W, 3). Returns what the loss needs: x,
    z_mean, z_log_sigma, z and logits. A conditional VAE, which needs class_names, takes
    {"images": images, "labels": class numbers, (n,)}.
    """

    def __init__(self, image_shape: tuple, config: Hyperparameters, class_names=()):
        names = conditional.names(class_names, config)  # [] without --conditional
        encoder = build_encoder(image_shape, len(names), config)
        decoder = build_decoder(image_shape, len(names), config)
        generator = keras.random.SeedGenerator(config.seed)  # of ε and other noise

        images = keras.Input(image_shape, dtype="uint8", name="images")
        labels, inputs = conditional.inputs(images, names)
        x = to_pixels(images)  # (n, pixels), in [0, 1]
        # The loss compares with x, even when --noise corrupts what the encoder sees.
        x, seen = noise.distort(x, config, generator)
        z_mean, z_log_sigma = encoder(conditional.with_label(seen, labels, names))
        # Keras tracks a generator in `arguments`, so every step draws new ε. Without an
        # output shape, Keras would hide the line of a mistake in the function.
        arguments = {"seed": generator}
        sampling = layers.Lambda(
            sample_latent, (config.latent_dim,), arguments=arguments
        )
        z = sampling([z_mean, z_log_sigma])  # (n, latent_dim)
        logits = decoder(conditional.with_label(z, labels, names))  # (n, pixels)

        outputs = dict(x=x, z_mean=z_mean, z_log_sigma=z_log_sigma, z=z, logits=logits)
        super().__init__(inputs, outputs, name="vae")
        self.image_shape = tuple(image_shape)
        self.config = config
        self.class_names = names
        self.encoder = encoder
        self.decoder = decoder
        self.generator = generator
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
        kl = path_gradient(kl, y_pred, self.config)
        # self.losses: those of layers, such as weight decay
        return ops.mean(reconstruction + self.config.beta * kl) + sum(self.losses)

    def adapt(self, images: np.ndarray) -> None:
        """Set the initial normalization and output biases from uint8 images.

        The encoder's normalization uses their mean and variance, and the decoder starts
        near their mean image: with a bias of log(p / (1 − p)), a pixel is white with
        probability p (Hinton 2010, A Practical Guide to Training Restricted Boltzmann
        Machines, section 8.1).
        """
        enough = max(1, 10_000 * 28**2 // images[0].size)  # not all, to save memory
        some = np.random.default_rng(0).permutation(len(images))[:enough]
        self.encoder.get_layer("normalize").adapt(to_pixels(images[some]))
        white = images.reshape(len(images), -1).sum(axis=0, dtype=float) / 255
        # Laplace's rule of succession: no p is 0 or 1.
        p = (white + 1) / (len(images) + 2)
        self.decoder.get_layer("logits").bias.assign(np.log(p / (1 - p)))

    def with_label(self, x: Tensor, labels: Labels) -> Tensor:
        """Return x or z as the encoder or the decoder takes it."""
        return conditional.with_label(x, labels, self.class_names)

    @batched
    def encode(self, images: np.ndarray, labels: Labels | int = None) -> tuple:
        """Return z_mean and z_log_sigma, each (n, latent_dim), of uint8 images.

        labels: class numbers, (n,), or one for all, which only a conditional VAE needs.
        """
        return tuple(self.encoder(self.with_label(to_pixels(images), labels)))

    @batched
    def decode(self, z: np.ndarray, labels: Labels | int = None) -> np.ndarray:
        """Decode latent points: return each pixel's probability of being white."""
        p = ops.sigmoid(self.decoder(self.with_label(z, labels)))
        return ops.reshape(p, (-1, *self.image_shape))

    def get_config(self):
        config, names = self.config.stored(), self.class_names
        return {"image_shape": self.image_shape, "config": config, "class_names": names}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"config": cli.make(Hyperparameters, config["config"])})


# Training


def compile_vae(vae: VAE, images: int, fine: bool = False) -> None:
    """Give `vae` its optimizer: RMSprop, at a rate that falls to 0 along a cosine.

    images: their number. fine: whether callbacks must see hundredths of an epoch.
    """
    config = vae.config.resolve(images)
    steps = math.ceil(images / config.batch_size)  # per epoch
    total = steps * config.epochs
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, total)
    optimizer = keras.optimizers.RMSprop(schedule, momentum=0.9)
    vae.compile(optimizer, **speed.compile_options(vae, config.batch_size, steps, fine))


def fit_vae(
    vae: VAE,
    images: Inputs,
    held_out: Inputs,
    initial_epoch: int = 0,
    callbacks: list[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Train a compiled `vae` on images; `held_out` is used for evaluation only.

    For each batch Keras draws z, computes the loss and its gradient, and lets RMSprop
    take a step. Returns the losses of these epochs, means in nats per image.
    """
    config = vae.config.resolve(rows(images))
    epochs = range(initial_epoch, config.epochs)
    return vae.fit(
        **speed.shuffled(images, config.batch_size, config.seed, epochs),
        initial_epoch=initial_epoch,
        epochs=config.epochs,
        validation_data=(held_out,),
        validation_batch_size=config.batch_size,
        callbacks=[speed.SeedEpoch(config.seed), *callbacks],
        verbose=0,
    )


def load_vae(path: str = cli.WEIGHTS) -> tuple[VAE, dict]:
    """Return the VAE in a weights file, and the settings of its run."""
    settings, _ = weights.read(path)
    config = cli.make(Config, settings["config"])
    vae = VAE(settings["image_shape"], config, list(settings.get("classes", {})))
    weights.load(vae, path)
    return vae, settings | {"config": vae.config.stored()}


def main(config: Config) -> None:
    dataset = data.load(
        config.data, config.image_size, config.color, config.background, config.only
    )
    images = dataset.train.images
    run = training.start(config.resolve(len(images)), dataset)
    vae = VAE(images.shape[1:], run.config, dataset.class_names or [])
    vae.adapt(images)
    compile_vae(vae, rows(run.images), fine=bool(config.snapshots))
    done = run.restore(vae) if config.resume else 0  # epochs
    with run.callbacks() as callbacks:
        fit_vae(vae, run.images, run.held_out, done, callbacks)
    run.finish(vae)


if __name__ == "__main__":
    cli.run(main, Config)
