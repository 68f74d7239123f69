"""Times an epoch of the default run beside other ways to train the same VAE.

    python tests/benchmark.py                   MNIST, 3 runs of 5 epochs each
    python tests/benchmark.py --quick           one run of 2 epochs, for a look
    python tests/benchmark.py --data mnist.npz
    python tests/benchmark.py --until 152       the time to that held-out loss

Every contender trains in a process of its own, in turn, so that a drift of the
machine's speed hits all alike. Seconds are those of training alone, the median over
all epochs but each run's first, which compiles. The held-out loss is the mean over
runs, which differ in their seed. With --until, seconds are those from the start of the
process to the end of the first epoch whose held-out loss is that low, infinite where
none is; files of the run are not written. Nothing is asserted: it prints a table.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

CONTENDERS = {
    "default": "this project on TensorFlow",
    "noise": "the same with `--noise 0.5`",
    "binarize": "the same with `--binarize`",
    "plain": "Keras' plain fit of the same model (no XLA, one step per call)",
    "jax": "this project on JAX",
    "keras-torch": "this project on PyTorch",
    "torch": "PyTorch's eager loop, the same architecture and optimizer",
    "numpy": "the five matrix products alone (NumPy)",
}
RACERS = {  # for --until: what they are, and the epochs that they plan
    "default": ("this project", 20),
    "short": ("this project with `--epochs 2`", 2),
    "keras": ("Keras' defaults: Glorot, relu, RMSprop, plain `fit`", 100),
}
OPTIONS = {"noise": {"noise": 0.5}, "binarize": {"binarize": True}}


def train_with_keras(dataset, epochs, seed, name):
    """Seconds per epoch and the held-out loss of the script's own VAE."""
    import vae_mnist
    from support.backend import keras, set_seed
    from support.run import seed_epoch

    class Stopwatch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seed_epoch(self.model, seed, epoch)
            self.start = time.perf_counter()

        def on_test_begin(self, logs=None):  # Training ends where validation begins.
            seconds.append(time.perf_counter() - self.start)

    seconds = []
    set_seed(seed)
    vae = vae_mnist.VAE(dataset.x_train.shape[1:], **OPTIONS.get(name, {}))
    vae.prepare(dataset.x_train)
    if name == "plain":
        compiled = vae.compile
        vae.compile = lambda optimizer, **_: compiled(optimizer, jit_compile=False)
    history = vae_mnist.train(
        vae,
        dataset.x_train,
        dataset.x_test,
        epochs,
        vae_mnist.BATCH_SIZE,
        vae_mnist.LEARNING_RATE,
        callbacks=[Stopwatch()],
        verbose=0,
    )
    return seconds, history.history["val_loss"][-1]


def train_with_torch(dataset, epochs, seed):
    """The same in PyTorch as a tutorial writes it, with the same initial weights."""
    import torch
    from torch import nn

    import vae_mnist

    torch.manual_seed(seed)
    hidden, latent_dim = vae_mnist.HIDDEN[0], vae_mnist.LATENT_DIM
    images = torch.from_numpy(dataset.x_train).flatten(1)
    held_out = torch.from_numpy(dataset.x_test).flatten(1)
    pixels = images.shape[1]
    encode = nn.Sequential(nn.Linear(pixels, hidden), nn.Tanh())
    to_mean, to_log_sigma = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)
    decode = nn.Sequential(
        nn.Linear(latent_dim, hidden), nn.Tanh(), nn.Linear(hidden, pixels)
    )
    model = nn.ModuleList([encode, to_mean, to_log_sigma, decode])
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    for parameter in decode[0].parameters():
        nn.init.normal_(parameter, std=2.0)
    biases = vae_mnist.mean_log_odds(dataset.x_train)
    decode[2].bias.data = torch.from_numpy(biases).float()

    def negative_elbo(batch):
        x = batch / 255
        h = encode(x)
        mean, log_sigma = to_mean(h), to_log_sigma(h)
        logits = decode(mean + log_sigma.exp() * torch.randn_like(mean))
        reconstruction = nn.functional.binary_cross_entropy_with_logits(
            logits, x, reduction="sum"
        )
        kl = 0.5 * (torch.exp(2 * log_sigma) + mean**2 - 1 - 2 * log_sigma).sum()
        return (reconstruction + kl) / len(x)

    rate = vae_mnist.LEARNING_RATE
    encoder = nn.ModuleList([encode, to_mean, to_log_sigma]).parameters()
    optimizer = torch.optim.RMSprop(
        [
            {"params": encoder, "lr": rate * vae_mnist.ENCODER_PACE},
            {"params": decode.parameters()},
        ],
        rate,
        alpha=0.9,
        eps=1e-7,
        momentum=vae_mnist.MOMENTUM,
    )
    steps = len(images) // vae_mnist.BATCH_SIZE
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * epochs)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for indices in torch.randperm(len(images)).split(vae_mnist.BATCH_SIZE)[:steps]:
            optimizer.zero_grad()
            negative_elbo(images[indices]).backward()
            optimizer.step()
            schedule.step()
        seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        return seconds, negative_elbo(held_out).item()


def multiply_matrices(dataset, epochs):
    """Seconds per epoch of the products that dominate a step, forward and backward."""
    import numpy as np

    import vae_mnist

    n, hidden, batch = len(dataset.x_train), vae_mnist.HIDDEN[0], vae_mnist.BATCH_SIZE
    pixels = dataset.x_train[0].size
    rng = np.random.default_rng(0)
    x, encoder, h, decoder, gradient = (
        rng.standard_normal(shape, dtype="float32")
        for shape in (
            (batch, pixels),
            (pixels, hidden),
            (batch, hidden),
            (hidden, pixels),
            (batch, pixels),
        )
    )
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for _ in range(n // batch):
            x @ encoder  # forward
            h @ decoder
            h.T @ gradient  # backward, with respect to the decoder's kernel …
            gradient @ decoder.T  # … its input …
            x.T @ h  # … and the encoder's kernel
        seconds.append(time.perf_counter() - start)
    return seconds, None


def contend(name, source, epochs, seed):
    """Runs one contender in this process. Returns its seconds and held-out loss."""
    from support import data

    dataset = data.load(source)
    if name == "torch":
        return train_with_torch(dataset, epochs, seed)
    if name == "numpy":
        return multiply_matrices(dataset, epochs)
    return train_with_keras(dataset, epochs, seed, name)


def race(name, source, seed, until, begun):
    """Trains until the held-out loss is at or under `until`.

    begun: when the process was started, by time.time(). Returns the seconds since
    then and the epochs, both infinite where it was never reached.
    """
    import vae_mnist
    from support import data
    from support.backend import keras, set_seed

    class Finish(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if logs["val_loss"] <= until:
                reached.append((time.time() - begun, epoch + 1))
                self.model.stop_training = True

    reached, epochs = [], RACERS[name][1]
    options = {"callbacks": [Finish()], "verbose": 0}
    dataset = data.load(source)
    images, held_out = dataset.x_train, dataset.x_test
    batch_size = vae_mnist.BATCH_SIZE
    set_seed(seed)
    if name == "keras":
        vae = vae_mnist.VAE(images.shape[1:], activation="relu")
        first = vae.decoder.layers[1]
        first.kernel.assign(keras.initializers.GlorotUniform()(first.kernel.shape))
        first.bias.assign(0 * first.bias)
        vae.compile(keras.optimizers.RMSprop())
        vae.fit(
            images,
            validation_data=(held_out,),
            batch_size=batch_size,
            epochs=epochs,
            **options,
        )
    else:
        vae = vae_mnist.VAE(images.shape[1:])
        vae.prepare(images)
        rate = vae_mnist.LEARNING_RATE
        vae_mnist.train(vae, images, held_out, epochs, batch_size, rate, **options)
    return reached[0] if reached else (float("inf"), float("inf"))


def start(name, source, epochs, seed, *more):
    """The same in a process of its own, on the backend that the contender asks for."""
    backend = {"jax": "jax", "keras-torch": "torch"}.get(name, "tensorflow")
    done = subprocess.run(
        [sys.executable, __file__, "--data", source, "--epochs", str(epochs)]
        + ["--contender", name, str(seed), *map(str, more)],
        env=os.environ | {"KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", metavar="SOURCE")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one run of 2 epochs")
    parser.add_argument("--until", type=float, metavar="LOSS")
    parser.add_argument("--contender", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        name, seed, *begun = args.contender
        if begun:
            result = race(name, args.data, int(seed), args.until, float(begun[0]))
        else:
            result = contend(name, args.data, args.epochs, int(seed))
        print(json.dumps(result))
        return
    if args.quick:
        args.runs, args.epochs = 1, 2
    if args.until:
        print_race(args)
    else:
        print_table(args)
    packages = ["tensorflow", "keras", "jax", "torch", "numpy"]
    versions = [
        f"{name} {importlib.metadata.version(name)}"
        for name in packages
        if importlib.util.find_spec(name)
    ]
    versions.insert(0, f"python {platform.python_version()}")
    machine = f"{os.cpu_count()} cores, {processor()}"
    print(f"\n{machine}; {', '.join(versions)}; {time.strftime('%Y-%m-%d')}")


def print_race(args):
    """Seconds to args.until, the median over runs, of all racers."""
    results = {name: [] for name in RACERS}
    for seed in range(args.runs):
        for name in RACERS:
            print(f"run {seed + 1}/{args.runs}: {RACERS[name][0]}", file=sys.stderr)
            until = ["--until", args.until]
            results[name].append(start(name, args.data, 0, seed, time.time(), *until))
    print(f"| {args.runs} runs | seconds to {args.until:g} nats | epochs | ratio |")
    print("|---|---|---|---|")
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in results.items()
    }
    for name, (seconds, epochs) in medians.items():
        ratio = seconds / medians["default"][0]
        print(f"| {RACERS[name][0]} | {seconds:.1f} | {epochs:g} | {ratio:.1f} |")


def print_table(args):
    """Seconds per epoch and held-out loss of all contenders."""
    needs = {"jax": "jax", "torch": "torch", "keras-torch": "torch"}
    names = [n for n in CONTENDERS if importlib.util.find_spec(needs.get(n, "numpy"))]
    seconds, losses = {n: [] for n in names}, {n: [] for n in names}
    for seed in range(args.runs):
        for name in names:
            print(f"run {seed + 1}/{args.runs}: {CONTENDERS[name]}", file=sys.stderr)
            times, loss = start(name, args.data, args.epochs, seed)
            seconds[name] += times[1:]
            losses[name].append(loss)

    default = statistics.median(seconds["default"])
    runs = f"{args.runs} runs of {args.epochs} epochs"
    print(f"| {runs} | s/epoch | ratio | held-out loss |")
    print("|---|---|---|---|")
    for name, what in CONTENDERS.items():
        if name not in names:
            print(f"| {what}: left out, {needs[name]} is not installed | | | |")
            continue
        median = statistics.median(seconds[name])
        loss = "" if None in losses[name] else f"{statistics.mean(losses[name]):.1f}"
        print(f"| {what} | {median:.2f} | {median / default:.2f} | {loss} |")


def processor():
    """The name of the processor, where the system tells it."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
