"""Trains a variational autoencoder (VAE) on images, without labels.

    python vae_mnist.py                        all of MNIST, 20 epochs
    python vae_mnist.py --latent-dim 20        a latent space of 20 dimensions
    python vae_mnist.py --data mnist.npz       images from a file
    python vae_mnist.py --resume               go on where a run was stopped

An image travels through the script from top to bottom: pixels → encoder → (z_mean,
z_log_sigma) → sampling → decoder → loss. The weights end up in one file, which
plot_latent.py and generate_grid.py draw.

The model: Kingma & Welling 2013, Auto-Encoding Variational Bayes, arXiv:1312.6114.
"""

from support import command_line
from support.command_line import FRACTION

# Hyperparameters: what a run uses unless its options say otherwise.
HIDDEN = [256]  # units of each hidden layer, in encoder order
LATENT_DIM = 2  # a plane can be drawn
ACTIVATIONS = ("tanh", "relu", "elu", "silu")  # tanh as in the paper, appendix C.1
BETA = 1.0  # makes the loss the negative ELBO
EPOCHS = 20
BATCH_SIZE = 100  # images per step, or 1 % of all images if that is fewer
LEARNING_RATE = 1e-3  # at first; 1/n of it with n hidden layers; a cosine ends it at 0
ENCODER_PACE = 0.5  # of the decoder's rate: 142.1 nats, 144.1 with 1 (a fold of MNIST)
WHITE_PIXELS = 110  # of an image; with more of them the pace is lower. MNIST has 102
MOMENTUM = 0.9  # of RMSprop: 145 nats after 5 epochs, 157 without (a fold of MNIST)

# Options: their default, or all choices, and what they mean.
MODEL = {  # those that make another model
    "hidden": (HIDDEN, "units of the encoder's hidden layers; reversed in the decoder"),
    "latent_dim": (LATENT_DIM, "dimensions of the latent space"),
    "activation": (ACTIVATIONS, "of the hidden layers"),
    "beta": (BETA, "weight of the KL divergence in the loss"),
    "noise": (0.0, "standard deviation, added to what the encoder sees", FRACTION),
    "binarize": (False, "draw pixels, 0 or 1, at every step"),
}
TRAINING = {
    "epochs": (EPOCHS, "passes over the training images"),
    "batch_size": (None, f"images per step (default: {BATCH_SIZE}, or 1 %% if fewer)"),
    "learning_rate": (LEARNING_RATE, "at first; 1/n of it with n hidden layers"),
}

if __name__ == "__main__":  # before the imports, which take seconds
    tables = command_line.RUN, command_line.SEED, MODEL, TRAINING
    args = command_line.read(__doc__, *tables)

import math

import numpy as np

from support import data, distribution, weights
from support.backend import check_room, keras, layers, ops, set_seed, speed
from support.optimizer import PacedRMSprop
from support.run import Run

METRICS = ["loss", "reconstruction", "kl"]  # what a run tells of every epoch


# Pixels: uint8 images → x in [0, 1], or drawn from that, 0 or 1


def draw_pixels(intensities, seed):
    """Binary pixels, drawn anew at every call as in Burda et al. 2015, section 5.1.

    intensities: in [0, 1], of any shape. Returns 0 or 1 of the same shape.
    seed: the keras.random.SeedGenerator that the draws come from.
    """
    draws = keras.random.uniform(ops.shape(intensities), seed=seed)
    return ops.cast(draws < intensities, "float32")  # x ~ Bernoulli(intensity)


# Encoder: x → q(z|x) = N(z_mean, diag(σ²))


def encode(pixels, hidden, latent_dim, activation):
    """Adds the encoder's layers to pixels, shape (n, pixel_count).

    Returns z_mean and z_log_sigma = log σ, each of shape (n, latent_dim).
    """
    h = pixels
    for units in hidden:
        h = layers.Dense(units, activation)(h)
    z_mean = layers.Dense(latent_dim, name="z_mean")(h)
    z_log_sigma = layers.Dense(latent_dim, name="z_log_sigma")(h)
    return z_mean, z_log_sigma


# Sampling: q(z|x) → z


def sample_latent(parameters, seed):
    """The reparameterization z = z_mean + σ·ε, Kingma & Welling 2013, section 2.4.

    parameters: z_mean and z_log_sigma = log σ, each of shape (n, latent_dim).
    seed: the keras.random.SeedGenerator that the noise comes from.
    Returns z, shape (n, latent_dim): a draw from q(z|x) that gradients flow through.
    """
    z_mean, z_log_sigma = parameters
    epsilon = keras.random.normal(ops.shape(z_mean), seed=seed)  # ε ~ N(0, I)
    return z_mean + ops.exp(z_log_sigma) * epsilon


# Decoder: z → p(x|z) = Bernoulli(sigmoid(logits))


def build_decoder(pixel_count, hidden, latent_dim, activation):
    """A Keras model from z, (n, latent_dim), to logits, (n, pixel_count).

    Its last layer, called logits, has a bias per pixel.
    """
    # So few numbers feed its first layer that Keras' narrow kernels and zero biases
    # would start all units as near copies of each other. Drawn wide, they tile the
    # latent space from the first step. Each needs its own initializer: a shared one
    # would draw the same numbers for the biases as for a kernel's row.
    stddev = math.sqrt(8 / latent_dim)  # 8: found by trial
    z = keras.Input([latent_dim], name="z")
    h = layers.Dense(
        hidden[-1],
        activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
        bias_initializer=keras.initializers.RandomNormal(stddev=stddev),
    )(z)
    for units in reversed(hidden[:-1]):
        h = layers.Dense(units, activation)(h)
    logits = layers.Dense(pixel_count, name="logits")(h)
    return keras.Model(z, logits, name="decoder")


def mean_log_odds(images):
    """The output biases with which a decoder starts from the mean image.

    A bias of log(p / (1 − p)) draws a pixel with probability p (Hinton 2010, A
    Practical Guide to Training Restricted Boltzmann Machines, section 8.1).

    images: uint8, shape (n, *image_shape). Returns float64, shape (pixel_count,).
    """
    white = np.sum(images, axis=0, dtype="float64").ravel() / 255  # in how many images
    # As if there were one all-black and one all-white image more, so that no pixel is
    # certain (Laplace's rule of succession).
    return np.log((white + 1) / (len(images) - white + 1))


# Loss: reconstruction + KL, in nats per image


def reconstruction_loss(pixels, logits):
    """−log p(x|z) of a Bernoulli decoder, Kingma & Welling 2013, appendix C.1.

    With p = sigmoid(logit), −x·log p − (1 − x)·log(1 − p) = softplus(logit) − x·logit,
    which is finite for every logit.

    pixels: x in [0, 1]; logits: log-odds of a white pixel; both (n, pixel_count).
    Returns nats per image, summed over its pixels, shape (n,).
    """
    return ops.sum(ops.softplus(logits) - pixels * logits, axis=-1)


def kl_divergence(z_mean, z_log_sigma):
    """KL(q(z|x) ‖ N(0, I)) in closed form, Kingma & Welling 2013, appendix B.

    z_mean, z_log_sigma: mean and log σ of q(z|x), each of shape (n, latent_dim).
    Returns nats per image, summed over the latent dimensions, shape (n,).
    """
    return 0.5 * ops.sum(
        ops.exp(2 * z_log_sigma) + z_mean**2 - 1 - 2 * z_log_sigma, axis=-1
    )


# The whole journey


class VAE(keras.Model):
    """A dense variational autoencoder with a Bernoulli decoder.

    image_shape: (H, W) or (H, W, 3) of the uint8 images that the model takes.
    The rest as in MODEL: hidden, in the encoder's order; latent_dim; activation, by
    Keras' name of it; beta (Higgins et al. 2017); noise in training, while the loss
    compares with the clean image (Vincent et al. 2008); binarize.

    The VAE maps images to a dict of `pixels`, `z_mean`, `z_log_sigma` and `logits`.
    `vae.encoder` maps images to `z_mean` and `z_log_sigma`, each (n, latent_dim).
    `vae.decoder` maps z to `logits`, (n, pixel_count); `vae.decode` makes images of z.
    """

    def __init__(
        self,
        image_shape,
        hidden=HIDDEN,
        latent_dim=LATENT_DIM,
        activation=ACTIVATIONS[0],
        beta=BETA,
        noise=0.0,
        binarize=False,
    ):
        check_room(math.prod(image_shape), *hidden, latent_dim)
        images = keras.Input(image_shape, dtype="uint8", name="images")
        # In this order whatever Keras' own image_data_format: (n, H, W) → (n, H·W)
        pixels = layers.Flatten(data_format="channels_last")(images)
        pixels = layers.Rescaling(1 / 255)(pixels)
        if binarize:
            seed = keras.random.SeedGenerator()
            pixels = layers.Lambda(draw_pixels, arguments={"seed": seed})(pixels)
        seen = layers.GaussianNoise(noise)(pixels) if noise else pixels

        z_mean, z_log_sigma = encode(seen, hidden, latent_dim, activation)
        parameters = {"z_mean": z_mean, "z_log_sigma": z_log_sigma}

        # The generator must be an argument: captured by the function instead, it
        # would repeat its noise on every step under JAX.
        seed = keras.random.SeedGenerator()
        sampling = layers.Lambda(
            sample_latent,
            output_shape=(latent_dim,),
            arguments={"seed": seed},
            name="z",
        )
        z = sampling([z_mean, z_log_sigma])

        decoder = build_decoder(pixels.shape[1], hidden, latent_dim, activation)
        # What compute_loss gets as y_pred: all that the loss is made of
        outputs = {"pixels": pixels, **parameters, "logits": decoder(z)}
        super().__init__(images, outputs, name="vae")
        self.encoder = keras.Model(images, parameters, name="encoder")
        self.decoder = decoder
        self.image_shape, self.latent_dim = tuple(image_shape), latent_dim
        self.hidden, self.pace = tuple(hidden), ENCODER_PACE
        self.beta, self.noise, self.binarize = beta, noise, binarize
        self.reconstruction = keras.metrics.Mean("reconstruction")
        self.kl = keras.metrics.Mean("kl")

    def prepare(self, images):
        """Begins with what the mean image tells: the output biases, the encoder's pace.

        Each hidden unit of the encoder adds up all white pixels. The more there are,
        the further a step of training moves it, at last out of the range of a tanh.

        images: uint8, shape (n, *image_shape).
        """
        self.decoder.get_layer("logits").bias.assign(mean_log_odds(images))
        white = np.mean(images) / 255 * math.prod(self.image_shape)
        self.pace = ENCODER_PACE * min(1, WHITE_PIXELS / max(1, white))

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        """The negative evidence lower bound, averaged over the batch, in nats.

        Kingma & Welling 2013, equation 10, with one draw of z per image. Images are
        their own targets: all it needs is y_pred, what the model makes of them.
        """
        reconstruction = reconstruction_loss(y_pred["pixels"], y_pred["logits"])
        kl = kl_divergence(y_pred["z_mean"], y_pred["z_log_sigma"])
        self.reconstruction.update_state(reconstruction)
        self.kl.update_state(kl)
        return ops.mean(reconstruction + self.beta * kl)

    def decode(self, z):
        """The images that the decoder makes of latent points.

        z: shape (n, latent_dim). Returns the mean of p(x|z), the probability of each
        pixel to be white: float32 in [0, 1], shape (n, *image_shape).
        """
        logits = self.decoder.predict(z, batch_size=1000, verbose=0)
        probabilities = ops.convert_to_numpy(ops.sigmoid(logits))
        return probabilities.reshape(-1, *self.image_shape)


# Training


def default_batch_size(images, devices=1):
    """BATCH_SIZE, or a hundredth of the data set where that is smaller.

    So 100 images or more get at least 2,000 steps in 20 epochs: 3,200 digits then reach
    155.1 nats, and 157.1 with 100 a step (four folds). A multiple of the devices.
    """
    batch_size = min(BATCH_SIZE, max(1, images // 100))
    return math.ceil(batch_size / devices) * devices


def train(
    vae, images, held_out, epochs, batch_size, learning_rate, fine=False, **fit_options
):
    """Fits `vae` to images with RMSprop.

    vae: starts with the weights it has; a new one best after its `prepare`.
    images, held_out: uint8, shape (n, *image_shape); held_out is only evaluated on.
    learning_rate: of the decoder's first step with one hidden layer; 1/n of it with n.
    fine: whether callbacks must hear of each hundredth of an epoch.
    fit_options: what else Keras' fit is to know, such as callbacks.
    Returns the history of Keras' fit: losses in nats per image, epoch by epoch.
    """
    steps = math.ceil(len(images) / batch_size)
    rate = learning_rate / len(vae.hidden)
    vae.compile(
        optimizer=PacedRMSprop(
            keras.optimizers.schedules.CosineDecay(rate, steps * epochs),
            slow=vae.encoder.trainable_variables,
            pace=vae.pace,
            momentum=MOMENTUM,
        ),
        **speed(vae, batch_size, steps, fine),  # XLA, several steps in one call
    )
    return vae.fit(
        images,
        validation_data=(held_out,),  # no targets
        batch_size=batch_size,
        epochs=epochs,
        **fit_options,
    )


def load_vae(path):
    """The VAE in a weights file, and the settings of its run as a dict.

    Raises FileNotFoundError where there is no file, ValueError where it is not one
    that this script wrote.
    """
    examples = {name: default for name, (default, *_) in MODEL.items()}
    settings, _ = weights.read(path, examples)
    with weights.reading(path):
        vae = VAE(settings["image_shape"], **{name: settings[name] for name in MODEL})
    weights.load(vae, path)
    return vae, settings


def main(args):
    team = distribution.join() if args.distributed else distribution.Team()
    run = Run(args, METRICS, team)
    dataset = data.load(args.data, args.image_size, args.color)
    images, held_out = dataset.x_train, dataset.x_test
    if args.batch_size is None:
        args.batch_size = default_batch_size(len(images), team.devices)
    run.describe(args, dataset)

    set_seed(args.seed)
    vae = VAE(images.shape[1:], **{name: getattr(args, name) for name in MODEL})
    vae.prepare(images)
    command_line.say(f"training on {len(images):,} images, {args.epochs} epochs")
    images, held_out, batch_size = distribution.share(  # all, for a single process
        images, held_out, args.batch_size, team
    )
    del dataset  # The shares are copies of its images.
    with distribution.ending_together(team), run:
        rate = args.learning_rate
        train(vae, images, held_out, args.epochs, batch_size, rate, **run.options)
    last = run.history[-1]
    command_line.say(
        f"held-out loss {last['val_loss']:.2f} nats per image"
        f" = reconstruction {last['val_reconstruction']:.2f}"
        f" + {args.beta:g} · KL {last['val_kl']:.2f}"
    )
    if run.writes:
        command_line.say_next(args.weights)


if __name__ == "__main__":
    command_line.run(main, args)
