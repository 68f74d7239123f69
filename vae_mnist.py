"""Trains a variational autoencoder (VAE) on images, without labels.

    python vae_mnist.py                        all of MNIST, 20 epochs
    python vae_mnist.py --latent-dim 20        a latent space of 20 dimensions
    python vae_mnist.py --data mnist.npz       images from a file
    python vae_mnist.py --resume               go on where a run was stopped

An image travels through the script from top to bottom: encoder → (z_mean,
z_log_sigma) → sampling → decoder → loss. The weights end up in one file, which
plot_latent.py and generate_grid.py draw.

The model: Kingma & Welling 2013, Auto-Encoding Variational Bayes, arXiv:1312.6114.
"""

import argparse
import contextlib
import csv
import io
import json
import math
import os
import pathlib
import signal
import sys
import tempfile
import time
import warnings
import zlib

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


try:
    with quiet_start():
        import h5py
        import keras
        import numpy as np
        from keras import layers, ops
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C
except (ImportError, ValueError) as failure:  # ValueError: there is no such backend
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    sys.exit(
        f"error: KERAS_BACKEND={backend} does not start: {failure}; it can be"
        " tensorflow, jax or torch, where that is installed"
    )

# Hyperparameters: what a run uses unless its options say otherwise.
HIDDEN = [256]  # units of each hidden layer, in encoder order
LATENT_DIM = 2  # a plane can be drawn
ACTIVATION = "tanh"  # the paper's own choice, appendix C.1
BETA = 1.0  # weight of the KL divergence; 1 makes the loss the negative ELBO
BATCH_SIZE = 100  # images per step, or a hundredth of all where that is fewer
LEARNING_RATE = 1e-3  # of the first step; a cosine takes it to 0 at the last
MOMENTUM = 0.9  # of RMSprop: 146 nats after 5 epochs, 150 without (a fold of MNIST)
EPOCHS = 20  # passes over the training images
WEIGHTS = "vae_mnist.weights.h5"
LARGEST = 1_000_000  # number that any option takes
LEGEND = 60  # classes; of more than that, a legend would be larger than the plane

TERMS = ["loss", "reconstruction", "kl"]
LOSSES = [*TERMS, *(f"val_{name}" for name in TERMS)]  # val_: on held-out images
LOG = ["epoch", *LOSSES, "seconds", "learning_rate"]  # the columns of --log


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
        flatten = layers.Flatten(data_format="channels_last")  # whatever Keras' own is
        pixels = flatten(images)  # (n, H, W) → (n, H·W)
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
        # tile the latent space from the first step. Each needs its own initializer: a
        # shared one would draw the same numbers for the biases as for a kernel's row.
        width = math.sqrt(8 / latent_dim)
        z_input = keras.Input([latent_dim], name="z")
        h = layers.Dense(
            hidden[-1],
            activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=width),
            bias_initializer=keras.initializers.RandomNormal(stddev=width),
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


def set_seed(seed):
    """Seeds all random numbers: initial weights, noise, and the images' order."""
    with quiet_start():  # On other backends this is what imports TensorFlow.
        keras.utils.set_random_seed(seed)


def default_batch_size(images: int, devices: int = 1) -> int:
    """BATCH_SIZE, or a hundredth of the data set where that is smaller.

    So 100 images or more get 2,000 steps in 20 epochs: 3,200 digits then reach 156.1
    nats, and 157.1 with 100 a step (three folds). A multiple of the number of devices.
    """
    batch_size = min(BATCH_SIZE, max(1, images // 100))
    return math.ceil(batch_size / devices) * devices


def mean_log_odds(images):
    """The output biases with which a decoder starts from the mean image.

    A bias of log(p / (1 − p)) draws a pixel with probability p (Hinton 2010, A
    Practical Guide to Training Restricted Boltzmann Machines, section 8.1).

    images: uint8, shape (n, *image_shape). Returns float64, shape (pixels,).
    """
    white = np.sum(images, axis=0, dtype="float64").ravel() / 255  # of n, per pixel
    # One image more of each kind: no pixel is certain (Laplace's rule of succession).
    return np.log((white + 1) / (len(images) - white + 1))


def train(
    vae,
    images,
    held_out,
    epochs,
    batch_size,
    learning_rate,
    seed=0,
    resume=None,
    callbacks=(),
    stoppable=True,
):
    """Fits `vae` to images with RMSprop.

    vae: starts with the weights it has; a new one best with mean_log_odds as biases.
    images, held_out: uint8, shape (n, *image_shape); held_out is only evaluated on.
    seed: of the random numbers of every epoch.
    resume: the file of an earlier training's state, and its number of epochs.
    callbacks: keras.callbacks.Callback objects, which see whole, finite epochs only.
    stoppable: whether signals end it by Stopped. One of several processes can't wait
    for its epoch's end once the others do not know of the signal.
    Returns the history of Keras' fit: losses in nats per image, epoch by epoch.
    Raises ValueError where the loss stops being a finite number, Stopped on a signal.
    """
    steps = math.ceil(len(images) / batch_size)
    file, initial_epoch = resume or (None, 0)
    many_draws = vae.config["noise"] or vae.config["binarize"]
    eager = keras.backend.backend() == "torch"  # which takes one step at a time
    # Between two executions Ctrl-C is heard: with large models after fewer steps.
    prompt = math.ceil(5e9 / (vae.count_params() * batch_size))
    vae.compile(
        optimizer=keras.optimizers.RMSprop(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps * epochs),
            momentum=MOMENTUM,
        ),
        # "auto" would leave XLA out on TensorFlow's CPU, and one step at a time spends
        # more on Python than on the model: the two save 0.45 of an epoch's time.
        # But there XLA takes 47 ms to draw a number per pixel of a batch, "auto" 0.6.
        jit_compile="auto" if eager or many_draws else True,
        steps_per_execution=1 if eager else min(steps, 100, prompt),
    )
    vae.optimizer.build(vae.trainable_variables)
    if file:
        restore_training(vae, file)
    terminal = sys.stdout is not None and sys.stdout.isatty()
    with StopOnSignal(stoppable) as stop:
        return vae.fit(
            images,
            validation_data=(held_out,),
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=initial_epoch,
            verbose=1 if terminal else 0,
            callbacks=[
                *(stop, StopAtNaN(), SeedEpochs(seed), Clock()),
                Progress() if terminal else PlainLine(),
                *callbacks,
            ],
        )


class Stopped(Exception):
    """A signal, by its number, ended a training that has so many whole epochs."""

    def __init__(self, signal_number, epochs):
        super().__init__(f"stopped by signal {signal_number} after {epochs} epochs")
        self.signal = signal_number
        self.epochs = epochs


class StopOnSignal(keras.callbacks.Callback):
    """Ends a training soon after Ctrl-C, SIGTERM or the closing of its terminal.

    An exception amid an epoch would leave JAX without its arrays, so a signal asks
    Keras to stop after the current steps, and the epoch's end raises Stopped. Amid the
    first epoch there is nothing to save, and it is raised at once. A second Ctrl-C or
    SIGTERM ends the process. Use it in a `with` statement around fit.
    """

    def __init__(self, stoppable):
        super().__init__()
        self.received = None
        self.whole = 0  # epochs
        self.stoppable = stoppable

    def __enter__(self):
        names = {"SIGINT", "SIGTERM", "SIGHUP"} & set(dir(signal))
        numbers = [getattr(signal, name) for name in names]
        self.before = {
            number: signal.signal(number, self.receive)
            for number in numbers
            if signal.getsignal(number) != signal.SIG_IGN  # as nohup has it
        }
        return self

    def __exit__(self, *exception):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def receive(self, number, frame):
        for each in {signal.SIGINT, signal.SIGTERM} & self.before.keys():
            signal.signal(each, signal.SIG_DFL)
        if not self.stoppable:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = number
        if not self.whole:
            raise Stopped(number, 0)

    def on_train_batch_end(self, batch, logs=None):
        if self.received is not None:
            self.model.stop_training = True

    def on_test_batch_end(self, batch, logs=None):
        if self.received is not None:
            self.model.stop_evaluating = True

    def on_epoch_end(self, epoch, logs=None):
        if self.received is not None:
            raise Stopped(self.received, epoch)  # This epoch is not whole.
        self.whole = epoch + 1


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training that has diverged: no later epoch could save it."""

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise ValueError(
                f"the loss was no longer finite in epoch {epoch + 1}:"
                " lower --learning-rate"
            )


class SeedEpochs(keras.callbacks.Callback):
    """Draws the random numbers of each epoch from the seed and the epoch's number.

    So a resumed training draws what it would have drawn without the interruption.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        rng = np.random.default_rng([self.seed, epoch])
        for variable in self.model.variables:
            if variable.name == "seed_generator_state":
                variable.assign([rng.integers(2**31), 0])
        # What shuffles the images. TensorFlow's takes one order for all epochs, and
        # a new seed would cost it 0.2 s.
        if keras.backend.backend() != "tensorflow":
            set_seed(int(rng.integers(2**31)))


class Clock(keras.callbacks.Callback):
    """Adds to each epoch's losses its seconds, and its first step's learning rate."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()
        self.learning_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.start
        logs["learning_rate"] = self.learning_rate


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, which is too long for a terminal until the epoch's end."""

    def on_train_batch_end(self, batch, logs=None):
        if not self.model.stop_training:  # Else the terminal may be closed.
            super().on_train_batch_end(batch, {"loss": logs["loss"]})

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, {name: logs[name] for name in LOSSES})


class PlainLine(keras.callbacks.Callback):
    """One line per epoch, for output that is not a terminal."""

    def on_epoch_end(self, epoch, logs=None):
        losses = "  ".join(f"{name} {logs[name]:.2f}" for name in LOSSES)
        count = f"{epoch + 1}/{self.params['epochs']}"
        print(f"epoch {count}  {losses}  {logs['seconds']:.1f} s", flush=True)


class Log(keras.callbacks.Callback):
    """Keeps a CSV file with one line per epoch, whole at every moment.

    path: the file. first: how many of its epochs a resumed training keeps.
    """

    def __init__(self, path, first=0):
        super().__init__()
        self.path = path
        self.rows = []
        if first and os.path.exists(path):
            try:
                with open(path, newline="") as file:
                    header, *rows = csv.reader(file)
            except (csv.Error, ValueError):
                header, rows = [], []
            self.rows = [dict(zip(LOG, row, strict=False)) for row in rows[:first]]
            numbers = [row.get("epoch") for row in self.rows]
            if header != LOG or numbers != [str(i) for i in range(1, first + 1)]:
                raise ValueError(f"{path} is not the log of the first {first} epochs")

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch + 1} | {n: logs[n] for n in LOG[1:]})
        with replacing(self.path) as part, open(part, "w", newline="") as file:
            table = csv.DictWriter(file, LOG)
            table.writeheader()
            table.writerows(self.rows)


class Checkpoint(keras.callbacks.Callback):
    """Keeps what a resumed training needs, after every epoch but the last.

    path: the file, .npz. settings: what to write beside the arrays, as JSON; the
    number of whole epochs is added to it.
    """

    def __init__(self, path, settings):
        super().__init__()
        self.path = path
        self.settings = settings

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 < self.params["epochs"]:
            settings = json.dumps(self.settings | {"epochs": epoch + 1})
            arrays = [ops.convert_to_numpy(v) for v in training_state(self.model)]
            buffer = io.BytesIO()
            np.savez(buffer, *arrays, settings=settings)
            with replacing(self.path) as part:
                part.write_bytes(buffer.getbuffer())


def training_state(vae):
    """All variables that a training changes and that its next epoch depends on."""
    return [*vae.weights, *vae.optimizer.variables]


@contextlib.contextmanager
def naming(path):
    """Has an OSError name `path` instead of a temporary file, or nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def check_place(path, size=0):
    """Raises OSError where no file of `size` bytes can be written at `path`."""
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write into")
    with naming(path), tempfile.TemporaryFile(dir=path.parent) as file:
        file.write(bytes(size))
        file.flush()


@contextlib.contextmanager
def replacing(path, size=0):
    """Gives a path to write to beside `path`; moves the file into place at the end.

    At every moment `path` is a whole file, the old one or the new one, even where
    several processes write it. size: bytes to make sure of beforehand.
    """
    check_place(path, size)
    place = pathlib.Path(path).resolve()  # of a symbolic link, where it points to
    ending = "".join(pathlib.Path(path).suffixes[-2:])
    part = place.with_name(f".{os.getpid()}{ending}")
    try:
        with naming(path):
            yield part
            with open(part, "rb+") as file:
                os.fsync(file.fileno())  # Else a power cut may leave an empty file.
            os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)


def file_size(vae):
    """About how many bytes the weights file takes, with RMSprop's two slots."""
    return 13 * vae.count_params() + 100_000


def save_vae(vae, path, source, training=None):
    """Writes the weights and, as a JSON attribute, what it takes to rebuild the VAE.

    path: must end in .weights.h5, as Keras requires.
    source: what data.load takes to read the images that the VAE was trained on.
    training: a dict of what --resume needs to know, for a training that is over.
    """
    settings = {"model": vae.config, "data": source, "training": training}
    # HDF5 crashes Python where the disk is full: make sure of the room.
    with replacing(path, file_size(vae)) as part:
        vae.save_weights(part)
        with h5py.File(part, "r+") as file:
            file.attrs["vae"] = json.dumps(settings)


@contextlib.contextmanager
def reading(path):
    """Turns what readers raise at a broken file `path` into one ValueError."""
    open(path, "rb").close()  # raises PermissionError and the like, by their names
    try:
        yield
    except Exception as error:  # NumPy, h5py and Keras raise a dozen kinds of them.
        raise ValueError(
            f"{path} does not hold weights written by this vae_mnist.py, which can"
            f" train new ones ({type(error).__name__}: {error})"
        ) from error


def load_vae(path):
    """Reads what save_vae wrote. Returns the VAE and the source of its images.

    Raises FileNotFoundError where there is no file, ValueError where it is not one
    that save_vae wrote.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"there are no weights in {path}: python vae_mnist.py trains and saves them"
        )
    with reading(path):
        with h5py.File(path) as file:
            settings = json.loads(file.attrs["vae"])
        source = str(settings["data"])
        vae = VAE(**settings["model"])
        load_weights(vae, path)
    if not all(np.isfinite(weight).all() for weight in vae.get_weights()):
        raise ValueError(f"{path} holds weights that are not finite: train again")
    return vae, source


def load_weights(vae, path):
    """Keras' own, which only warns where it leaves a layer as it was at random."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        vae.load_weights(path)


def checkpoint_of(weights):
    """The file beside `weights` that holds an unfinished training."""
    return weights.removesuffix(".weights.h5") + ".checkpoint.npz"


def read_training(path):
    """Reads what --resume needs to know, from a checkpoint or a weights file.

    Returns a dict: `options` by name, `checksum` of the images, whole `epochs`.
    Raises FileNotFoundError, or ValueError where the file can't be resumed from.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"nothing to --resume: there is no {path}")
    with reading(path):
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as file:
                training = json.loads(str(file["settings"]))
        else:
            with h5py.File(path) as file:
                training = json.loads(file.attrs["vae"])["training"]
        if training is not None:
            training["epochs"] = int(training["epochs"])
            training["options"] = dict(training["options"])
    if training is None:
        raise ValueError(f"{path} was saved amid an epoch: --resume has to start anew")
    return training


def restore_training(vae, path):
    """Sets weights, optimizer slots and step count to those in `path`."""
    if not path.endswith(".npz"):
        with reading(path):
            load_weights(vae, path)
        return
    variables = training_state(vae)
    with reading(path), np.load(path, allow_pickle=False) as file:
        arrays = [file[f"arr_{i}"] for i in range(len(variables))]
        for variable, array in zip(variables, arrays, strict=True):
            if array.shape != tuple(variable.shape) or not np.isfinite(array).all():
                raise ValueError(f"no {variable.path} that fits")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


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


def ending_in(*endings):
    """The type of options that name a file: its ending says the format."""

    def file_name(name: str) -> str:
        if name.endswith(endings) and pathlib.Path(name).name not in endings:
            return name
        raise argparse.ArgumentTypeError(f"the name must end in {' or '.join(endings)}")

    return file_name


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
        type=ending_in(".weights.h5"),
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
            type=ending_in(".png", ".jpg", ".pdf", ".svg"),
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


def class_colours(classes):
    """Colours that tell classes apart, as RGBA, at least one."""
    import matplotlib as mpl

    if classes <= 10:
        return mpl.colormaps["tab10"](np.arange(10))
    return mpl.colormaps["gist_rainbow"](np.linspace(0, 1, classes))


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
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        sys.exit("error: " + " ".join(text.split()))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)  # as shells report Ctrl-C


def join_processes():
    """Joins the processes of a distributed run, to train on all their devices.

    keras.distribution reads addresses and numbers from KERAS_DISTRIBUTION_* variables.
    Returns the number of this process, how many there are, and how many devices.
    Raises ValueError where there is nothing to distribute over.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(
            "--distributed needs KERAS_BACKEND=jax: the other backends' ways, such as"
            " TensorFlow's MultiWorkerMirroredStrategy, do not work with Keras 3"
        )
    count = os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")
    number = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0")
    addresses = os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    if not (count.isdecimal() and number.isdecimal() and int(number) < int(count)):
        raise ValueError(
            f"KERAS_DISTRIBUTION_PROCESS_ID is {number} of"
            f" KERAS_DISTRIBUTION_NUM_PROCESSES, {count}: they count from 0"
        )
    process, processes = int(number), int(count)
    if processes > 1:
        if not addresses:
            raise ValueError("KERAS_DISTRIBUTION_JOB_ADDRESSES names no first machine")
        print(f"process {process} of {processes} meets the others at {addresses}")
        sys.stdout.flush()
        try:
            with quiet_start():
                keras.distribution.initialize()
        except RuntimeError as error:
            raise ValueError(f"the processes do not find each other: {error}") from None
    devices = len(keras.distribution.list_devices())
    if devices == 1:
        raise ValueError(
            "--distributed finds one device only: for several machines, set the"
            " KERAS_DISTRIBUTION_* variables that the README names"
        )
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(auto_shard_dataset=False)
    )
    return process, processes, devices


def check_resumable(training, before, path):
    """Raises ValueError where a training can't go on with the state in `path`.

    training, before: the options and the checksum of the images, now and then.
    """
    then, now = before["options"], training["options"]
    fixed = then.keys() - {"data", "epochs", "learning_rate"}
    names = sorted(name for name in fixed if then[name] != now.get(name))
    if names:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise ValueError(f"{path} was trained with another {options}: leave it out")
    if training["checksum"] != before["checksum"]:
        raise ValueError(f"{path} was trained on other images, those of {then['data']}")
    if before["epochs"] >= now["epochs"]:
        raise ValueError(
            f"{path} has had {before['epochs']} epochs: give --epochs a larger total"
        )


def share_of(images, held_out, process, processes, devices):
    """The images that one of several processes trains and evaluates on.

    Shares are of equal size, divisible by the devices: of the images up to devices − 1
    are left out. Of the held-out images none is, but all are taken several times where
    their number is not divisible. Returns images and held-out images.
    """
    images = images[: len(images) // devices * devices]
    times = math.lcm(len(held_out), devices) // len(held_out)
    held_out = np.repeat(held_out, times, axis=0) if times > 1 else held_out
    return images[process::processes], held_out[process::processes]


def training_options():
    """The parser of this script's options."""
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
        default=EPOCHS,
        metavar="N",
        help="passes over the training images (default: %(default)s)",
    )
    option(
        "--batch-size",
        type=positive_int,
        metavar="N",
        help=f"images per step (default: {BATCH_SIZE}, or a hundredth of all images"
        " where that is fewer)",
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
        ("--latent-dim", positive_int, LATENT_DIM, "dimensions of the latent space"),
        ("--learning-rate", not_negative, LEARNING_RATE, "of the first step"),
        ("--beta", not_negative, BETA, "weight of the KL divergence in the loss"),
        ("--noise", not_negative, 0.0, "what a denoising VAE's encoder sees, added"),
    ):
        option(name, type=kind, default=default, help=f"{meaning} (default: {default})")
    option("--binarize", action="store_true", help="draw pixels, 0 or 1, at every step")
    option("--resume", action="store_true", help="go on with an interrupted run")
    option(
        "--distributed",
        action="store_true",
        help="train on all devices, of one machine or several (KERAS_BACKEND=jax)",
    )
    option(
        "--log",
        type=ending_in(".csv"),
        metavar="FILE",
        help="write a line of CSV per epoch (default: none)",
    )
    return parser


def main():
    parser = training_options()
    args = parser.parse_args()

    process, processes, devices = join_processes() if args.distributed else (0, 1, 1)
    checkpoint = checkpoint_of(args.weights)
    unfinished = os.path.exists(checkpoint)
    resume = None
    if args.resume:
        file = checkpoint if unfinished else args.weights
        before = read_training(file)
        parser.set_defaults(**before["options"])  # Those not given are as they were.
        args = parser.parse_args()
        resume = file, before["epochs"]
    elif unfinished:
        print(
            f"note: {checkpoint} holds an unfinished run, which --resume goes on with;"
            " this run replaces it",
            file=sys.stderr,
        )
    for path in (args.weights, checkpoint, args.log):
        if path:
            check_place(path)
    dataset = data.load(args.data, args.image_size, args.color)
    images, held_out = dataset.x_train, dataset.x_test
    batch_size = args.batch_size or default_batch_size(len(images), devices)
    options = vars(args) | {"batch_size": batch_size, "data": dataset.source}
    for name in ("weights", "resume", "log", "distributed"):
        del options[name]
    training = {
        "options": options,
        "checksum": zlib.crc32(
            np.ascontiguousarray(held_out), zlib.crc32(np.ascontiguousarray(images))
        ),
    }
    if resume:
        check_resumable(training, before, file)

    if batch_size % devices:
        raise ValueError(
            f"--batch-size {batch_size} is no multiple of {devices} devices"
        )
    source = dataset.source
    done = resume[1] if resume else 0
    try:
        set_seed(args.seed)
        vae = VAE(
            images.shape[1:],
            args.hidden,
            args.latent_dim,
            args.activation,
            args.beta,
            args.noise,
            args.binarize,
        )
        check_place(args.weights, 2 * file_size(vae))  # the checkpoint's, too
        vae.decoder.get_layer("logits").bias.assign(mean_log_odds(images))
        print(f"training on {len(images):,} images, {args.epochs} epochs", flush=True)
        images, held_out = share_of(images, held_out, process, processes, devices)
        # Keras would copy NumPy's arrays, and both would be kept: 110 MB for MNIST.
        images, held_out = (ops.convert_to_tensor(part) for part in (images, held_out))
        del dataset
        callbacks = []
        if process == 0:  # The others end with the same weights.
            callbacks += [Log(args.log, done)] if args.log else []
            callbacks.append(Checkpoint(checkpoint, training))
        history = train(
            vae,
            images,
            held_out,
            args.epochs,
            batch_size // processes,
            args.learning_rate,
            args.seed,
            resume,
            callbacks,
            processes == 1,
        )
    except Stopped as stop:
        if stop.epochs <= done:
            told = "no epoch was over, nothing was written"
        else:
            save_vae(vae, args.weights, source)
            told = (
                f"{args.weights} has the weights so far;"
                f" --resume goes on after epoch {stop.epochs}"
            )
        with contextlib.suppress(OSError):  # of a terminal that was closed
            print(f"stopped: {told}", file=sys.stderr)
        sys.exit(128 + stop.signal)  # as shells report a signal
    except Exception as error:
        if processes == 1:
            raise
        # JAX would first wait 100 s for the process that is gone.
        told = " ".join(str(error).split())
        print(f"error: {told}; --resume goes on after the last epoch", file=sys.stderr)
        sys.stdout.flush()
        os._exit(1)
    if process == 0:
        keras.distribution.set_distribution(None)  # The others do not take part.
        save_vae(vae, args.weights, source, training | {"epochs": args.epochs})
        pathlib.Path(checkpoint).unlink(missing_ok=True)

    last = {name: values[-1] for name, values in history.history.items()}
    print(
        f"held-out loss {last['val_loss']:.2f} nats per image"
        f" = reconstruction {last['val_reconstruction']:.2f}"
        f" + {args.beta:g} · KL {last['val_kl']:.2f}; weights in {args.weights}"
    )


if __name__ == "__main__":
    with errors_in_one_line():
        main()
