"""Trains a variational autoencoder (VAE) on images, without labels.

    python vae_mnist.py                        all of MNIST, 20 epochs
    python vae_mnist.py --latent-dim 20        a latent space of 20 dimensions
    python vae_mnist.py --data mnist.npz       images from a file

An image travels through the script from top to bottom: encoder → (z_mean,
z_log_sigma) → sampling → decoder → loss. The weights end up in one file, which
plot_latent.py and generate_grid.py draw.

The model: Kingma & Welling 2013, Auto-Encoding Variational Bayes, arXiv:1312.6114.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import sys
import time
import warnings

import data


@contextlib.contextmanager
def quiet_start():
    """Keeps TensorFlow's start-up chatter from the terminal.

    Since 2.17 some of it ignores TF_CPP_MIN_LOG_LEVEL, so the error stream itself
    is turned away during the import. A user who sets the variable lower sees all.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if level != "3" or sys.stderr is None:
        yield
        return
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


with quiet_start():
    import h5py
    import keras
    import numpy as np
    from keras import layers, ops

# Hyperparameters: what a run uses unless its options say otherwise.
HIDDEN = [256]  # units of each hidden layer, in encoder order
LATENT_DIM = 2  # a plane can be drawn
ACTIVATION = "tanh"  # the paper's own choice, appendix C.1
BETA = 1.0  # weight of the KL divergence; 1 makes the loss the negative ELBO
BATCH_SIZE = 100  # images per step
LEARNING_RATE = 1e-3  # of the first step; a cosine takes it to 0 at the last
MOMENTUM = 0.9  # of RMSprop: 147 nats after 5 epochs; 153 without it, at 3e-3
EPOCHS = 20  # passes over the training images …
STEPS = 4000  # … or more, until there were so many steps: small sets need them
WEIGHTS = "vae_mnist.weights.h5"
LARGEST = 1_000_000  # number that any option takes


def sample_latent(parameters, seed):
    """The reparameterization z = z_mean + σ·ε, Kingma & Welling 2013, section 2.4.

    parameters: z_mean and z_log_sigma = log σ, each of shape (n, latent_dim).
    seed: the keras.random.SeedGenerator that the noise comes from.
    Returns z, shape (n, latent_dim): a draw from q(z|x) that gradients flow through.
    """
    z_mean, z_log_sigma = parameters
    epsilon = keras.random.normal(ops.shape(z_mean), seed=seed)  # ε ~ N(0, I)
    return z_mean + ops.exp(z_log_sigma) * epsilon


def draw_pixels(intensities, seed):
    """Binary pixels, drawn anew at every call as in Burda et al. 2015, section 5.1.

    intensities: in [0, 1], of any shape. Returns 0 or 1 of the same shape.
    seed: the keras.random.SeedGenerator that the draws come from.
    """
    draws = keras.random.uniform(ops.shape(intensities), seed=seed)
    return ops.cast(draws < intensities, "float32")  # x ~ Bernoulli(intensity)


def reconstruction_loss(pixels, logits):
    """−log p(x|z) of a Bernoulli decoder, Kingma & Welling 2013, appendix C.1.

    With p = sigmoid(logit), −x·log p − (1 − x)·log(1 − p) = softplus(logit) − x·logit,
    which is finite for every logit.

    pixels: x in [0, 1]; logits: log-odds of a white pixel; both of shape (n, pixels).
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


class VAE(keras.Model):
    """A dense variational autoencoder with a Bernoulli decoder.

    image_shape: (H, W) or (H, W, 3) of the uint8 images that the model takes.
    hidden: units of the encoder's hidden layers; the decoder has them in reverse.
    latent_dim: dimensions of z.
    activation: of the hidden layers, by the name Keras knows it by.
    beta: weight of the KL divergence in the loss (Higgins et al. 2017); 1 is a VAE.
    noise: standard deviation of the noise that the encoder sees in training, while
    the loss compares with the clean image (Vincent et al. 2008).
    binarize: whether pixels are drawn, 0 or 1, instead of taken as they are.

    The VAE maps images to a dict of `pixels`, `z_mean`, `z_log_sigma` and `logits`.
    `vae.encoder` maps images to `z_mean` and `z_log_sigma`, each (n, latent_dim).
    `vae.decoder` maps z to `logits`, (n, pixels); `vae.decode` makes images of z.
    """

    def __init__(
        self,
        image_shape,
        hidden=HIDDEN,
        latent_dim=LATENT_DIM,
        activation=ACTIVATION,
        beta=BETA,
        noise=0.0,
        binarize=False,
    ):
        # Encoder: images → q(z|x) = N(z_mean, diag(σ²))
        images = keras.Input(image_shape, dtype="uint8", name="images")
        pixels = layers.Flatten()(images)  # (n, H, W) → (n, H·W)
        pixels = layers.Rescaling(1 / 255)(pixels)
        if binarize:
            seed = keras.random.SeedGenerator()
            pixels = layers.Lambda(draw_pixels, arguments={"seed": seed})(pixels)
        h = layers.GaussianNoise(noise)(pixels) if noise else pixels
        for units in hidden:
            h = layers.Dense(units, activation)(h)
        z_mean = layers.Dense(latent_dim, name="z_mean")(h)
        z_log_sigma = layers.Dense(latent_dim, name="z_log_sigma")(h)
        parameters = {"z_mean": z_mean, "z_log_sigma": z_log_sigma}
        encoder = keras.Model(images, parameters, name="encoder")

        # The generator must be an argument: captured by the function instead, it
        # would repeat its noise on every step under JAX.
        z = layers.Lambda(
            sample_latent,
            output_shape=(latent_dim,),
            arguments={"seed": keras.random.SeedGenerator()},
            name="z",
        )([z_mean, z_log_sigma])

        # Decoder: z → p(x|z) = Bernoulli(sigmoid(logits))
        # So few numbers feed its first layer that Keras' narrow kernels and zero
        # biases would start all units as near copies of each other. Drawn wide, they
        # tile the latent space from the first step.
        wide = keras.initializers.RandomNormal(stddev=math.sqrt(8 / latent_dim))
        z_input = keras.Input([latent_dim], name="z")
        h = layers.Dense(
            hidden[-1], activation, kernel_initializer=wide, bias_initializer=wide
        )(z_input)
        for units in reversed(hidden[:-1]):
            h = layers.Dense(units, activation)(h)
        logits = layers.Dense(math.prod(image_shape), name="logits")(h)
        decoder = keras.Model(z_input, logits, name="decoder")

        super().__init__(
            images, {"pixels": pixels, **parameters, "logits": decoder(z)}, name="vae"
        )
        self.encoder = encoder
        self.decoder = decoder
        self.config = {
            "image_shape": list(image_shape),
            "hidden": list(hidden),
            "latent_dim": latent_dim,
            "activation": activation,
            "beta": beta,
            "noise": noise,
            "binarize": binarize,
        }
        self.reconstruction = keras.metrics.Mean("reconstruction")
        self.kl = keras.metrics.Mean("kl")

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        """The negative evidence lower bound, averaged over the batch, in nats.

        Kingma & Welling 2013, equation 10, with one draw of z per image.
        """
        reconstruction = reconstruction_loss(y_pred["pixels"], y_pred["logits"])
        kl = kl_divergence(y_pred["z_mean"], y_pred["z_log_sigma"])
        self.reconstruction.update_state(reconstruction)
        self.kl.update_state(kl)
        return ops.mean(reconstruction + self.config["beta"] * kl)

    def decode(self, z):
        """The images that the decoder makes of latent points.

        z: shape (n, latent_dim). Returns the mean of p(x|z), the probability of each
        pixel to be white: float32 in [0, 1], shape (n, *image_shape).
        """
        logits = self.decoder.predict(z, batch_size=1000, verbose=0)
        probabilities = ops.convert_to_numpy(ops.sigmoid(logits))
        return probabilities.reshape(-1, *self.config["image_shape"])


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training that has diverged: no later epoch could save it."""

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            self.model.stop_training = True


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, which is too long for a terminal until the epoch's end."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, {"loss": logs["loss"]})


class PlainLine(keras.callbacks.Callback):
    """One line per epoch, for output that is not a terminal."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.start
        names = ["loss", "reconstruction", "kl"]
        names += [f"val_{name}" for name in names]
        losses = "  ".join(f"{name} {logs[name]:.2f}" for name in names)
        count = f"{epoch + 1}/{self.params['epochs']}"
        print(f"epoch {count}  {losses}  {seconds:.1f} s", flush=True)


def default_epochs(images: int, batch_size: int) -> int:
    """EPOCHS, or as many as make STEPS steps where the data set is small."""
    return max(EPOCHS, math.ceil(STEPS / math.ceil(images / batch_size)))


def train(vae, images, held_out, epochs, batch_size, learning_rate, callbacks=()):
    """Fits `vae` to images with RMSprop.

    images, held_out: uint8, shape (n, *image_shape); held_out is only evaluated on.
    callbacks: keras.callbacks.Callback objects for fit.
    Returns the history of Keras' fit: losses in nats per image, epoch by epoch.
    Raises ValueError where the loss stops being a finite number.
    """
    steps = math.ceil(len(images) / batch_size)
    vae.compile(
        optimizer=keras.optimizers.RMSprop(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps * epochs),
            momentum=MOMENTUM,
        ),
        # "auto" would leave XLA out on TensorFlow's CPU, and one step at a time spends
        # more on Python than on the model: the two save 0.44 of an epoch's time.
        # But there XLA takes 47 ms to draw a number per pixel of a batch, "auto" 0.6.
        jit_compile="auto" if vae.config["noise"] or vae.config["binarize"] else True,
        steps_per_execution=min(steps, 100),
    )
    terminal = sys.stdout is not None and sys.stdout.isatty()
    fitted = vae.fit(
        images,
        validation_data=(held_out,),
        batch_size=batch_size,
        epochs=epochs,
        verbose=1 if terminal else 0,
        callbacks=[*callbacks, StopAtNaN(), Progress() if terminal else PlainLine()],
    )
    if not math.isfinite(fitted.history["loss"][-1] + fitted.history["val_loss"][-1]):
        raise ValueError(
            f"the loss was no longer finite in epoch {len(fitted.epoch)}:"
            " lower --learning-rate"
        )
    return fitted


def check_place(path):
    """Raises OSError where no file can be written at `path`."""
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write into")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"no permission to write into {path.parent}")


@contextlib.contextmanager
def replacing(path):
    """Gives a path to write to beside `path`; moves the file into place at the end.

    At every moment `path` is a whole file, the old one or the new one.
    """
    check_place(path)
    path = pathlib.Path(path).resolve()  # of a symbolic link, where it points to
    part = path.with_name(f".{os.getpid()}{''.join(path.suffixes[-2:])}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_vae(vae, path, source):
    """Writes the weights and, as a JSON attribute, what it takes to rebuild the VAE.

    path: must end in .weights.h5, as Keras requires.
    source: what data.load takes to read the images that the VAE was trained on.
    """
    with replacing(path) as part:
        vae.save_weights(part)
        with h5py.File(part, "r+") as file:
            file.attrs["vae"] = json.dumps({"model": vae.config, "data": source})


def load_vae(path):
    """Reads what save_vae wrote. Returns the VAE and the source of its images.

    Raises FileNotFoundError where there is no file, ValueError where it is not one
    that save_vae wrote.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"there are no weights in {path}: python vae_mnist.py trains and saves them"
        )
    open(path, "rb").close()  # raises PermissionError and the like, by their names
    try:
        with h5py.File(path) as file:
            settings = json.loads(file.attrs["vae"])
        source = str(settings["data"])
        vae = VAE(**settings["model"])
        with warnings.catch_warnings():
            # Keras only warns where it leaves a layer as it was at random.
            warnings.simplefilter("error", UserWarning)
            vae.load_weights(path)
    except Exception as error:  # h5py and Keras raise a dozen kinds of them.
        raise ValueError(
            f"{path} does not hold weights written by this vae_mnist.py, which can"
            f" train new ones ({type(error).__name__}: {error})"
        ) from error
    if not all(np.isfinite(weight).all() for weight in vae.get_weights()):
        raise ValueError(f"{path} holds weights that are not finite: train again")
    return vae, source


def load_vae_and_images(path, source=None):
    """Reads a VAE and the images to show it: `source`, or what it was trained on.

    Returns the VAE and a data.Dataset. Raises what load_vae and data.load raise, and
    ValueError where the images have another shape than the VAE's.
    """
    vae, trained_on = load_vae(path)
    expected = tuple(vae.config["image_shape"])
    try:
        dataset = data.load(source or trained_on, expected[0], len(expected) == 3)
    except FileNotFoundError as error:
        if source:
            raise
        raise FileNotFoundError(
            f"the images that {path} was trained on are gone: {error} as --data"
        ) from error
    if dataset.x_test.shape[1:] != expected:
        raise ValueError(
            f"{dataset.source} has images of shape {dataset.x_test.shape[1:]},"
            f" but {path} was trained on {expected}"
        )
    return vae, dataset


def weights_file(name: str) -> str:
    """The type of --weights."""
    if not name.endswith(".weights.h5"):
        raise argparse.ArgumentTypeError("the name must end in .weights.h5")
    return name


def output_file(name: str) -> str:
    """The type of --output: its ending says the format."""
    if pathlib.Path(name).suffix not in {".png", ".jpg", ".pdf", ".svg"}:
        raise argparse.ArgumentTypeError(
            "the name must end in .png, .jpg, .pdf or .svg"
        )
    return name


def positive_int(text: str) -> int:
    """The type of options that count something."""
    if text.isdecimal() and 1 <= int(text) <= LARGEST:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {LARGEST}")


def not_negative(text: str) -> float:
    """The type of options that measure something."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= LARGEST:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {LARGEST}")


def command_line(docstring, output=None, images=False):
    """The parser of a script, with the options that mean the same in all of them.

    docstring: the script's own, which becomes its help text.
    output: for a script that draws, the name of its picture.
    images: whether a companion script needs images too.
    """
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option(
        "--weights",
        type=weights_file,
        default=WEIGHTS,
        metavar="FILE",
        help="the weights file (default: %(default)s)",
    )
    if images:
        option(
            "--data",
            metavar="SOURCE",
            help=f"{data.SOURCES} (default: what the weights were trained on)",
        )
    if output:
        option(
            "--output",
            type=output_file,
            default=output,
            metavar="FILE",
            help="the picture; its ending says the format (default: %(default)s)",
        )
        option("--show", action="store_true", help="open a window, too")
    return parser


def add_seed(parser):
    """The option --seed, for a script that draws random numbers."""
    parser.add_argument(
        "--seed", type=int, default=0, help="of all random numbers (default: 0)"
    )


def save_picture(figure, path, show=False):
    """Writes a matplotlib Figure to `path`, and shows it in a window if asked to.

    Raises ValueError where there is no such format, or no window.
    """
    import matplotlib.pyplot as plt

    if show and plt.get_backend().lower() == "agg":
        raise ValueError(f"no window can be opened here: open {path} without --show")
    with replacing(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # Boxes stand for what fonts lack.
        figure.savefig(part, dpi=150, format=part.suffix[1:])
    print(f"wrote {path}")
    if show:
        plt.show()


@contextlib.contextmanager
def errors_in_one_line():
    """Where the user got something wrong: one line on stderr and exit status 1."""
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="replace")  # a terminal without σ, →, ·
    try:
        yield
    except MemoryError:
        sys.exit("error: there is not enough memory for this")
    except (OSError, ValueError) as error:
        sys.exit("error: " + " ".join(str(error).split()))
    except KeyboardInterrupt:
        print("stopped: nothing was written", file=sys.stderr)
        sys.exit(130)  # as shells report Ctrl-C


def main():
    parser = command_line(__doc__)
    add_seed(parser)
    option = parser.add_argument
    option(
        "--data",
        default="mnist",
        metavar="SOURCE",
        help=f"{data.SOURCES} (default: %(default)s)",
    )
    option(
        "--image-size",
        type=positive_int,
        default=28,
        metavar="N",
        help="height and width that a folder's images get (default: %(default)s)",
    )
    option("--color", action="store_true", help="keep the colours of a folder's images")
    option(
        "--epochs",
        type=positive_int,
        help=f"passes over the training images (default: {EPOCHS}, or as many as make"
        f" {STEPS} steps where there are few images)",
    )
    option(
        "--hidden",
        type=positive_int,
        nargs="+",
        default=HIDDEN,
        metavar="UNITS",
        help="units of the encoder's hidden layers; the decoder has them in reverse"
        f" (default: {' '.join(map(str, HIDDEN))})",
    )
    option(
        "--activation",
        choices=["tanh", "relu", "elu", "silu"],
        default=ACTIVATION,
        help="of the hidden layers (default: %(default)s)",
    )
    for name, kind, default, meaning in (
        ("--batch-size", positive_int, BATCH_SIZE, "images per step"),
        ("--latent-dim", positive_int, LATENT_DIM, "dimensions of the latent space"),
        ("--learning-rate", not_negative, LEARNING_RATE, "of the first step"),
        ("--beta", not_negative, BETA, "weight of the KL divergence in the loss"),
        ("--noise", not_negative, 0.0, "what a denoising VAE's encoder sees, added"),
    ):
        option(name, type=kind, default=default, help=f"{meaning} (default: {default})")
    option("--binarize", action="store_true", help="draw pixels, 0 or 1, at every step")
    args = parser.parse_args()

    check_place(args.weights)
    dataset = data.load(args.data, args.image_size, args.color)

    keras.utils.set_random_seed(args.seed)
    vae = VAE(
        dataset.x_train.shape[1:],
        args.hidden,
        args.latent_dim,
        args.activation,
        args.beta,
        args.noise,
        args.binarize,
    )
    images = dataset.x_train
    epochs = args.epochs or default_epochs(len(images), args.batch_size)
    print(f"training on {len(images):,} images, {epochs} epochs", flush=True)
    history = train(
        vae, images, dataset.x_test, epochs, args.batch_size, args.learning_rate
    )
    save_vae(vae, args.weights, dataset.source)

    held_out = {name: values[-1] for name, values in history.history.items()}
    print(
        f"held-out loss {held_out['val_loss']:.2f} nats per image"
        f" = reconstruction {held_out['val_reconstruction']:.2f}"
        f" + {args.beta:g} · KL {held_out['val_kl']:.2f}; weights in {args.weights}"
    )


if __name__ == "__main__":
    with errors_in_one_line():
        main()
