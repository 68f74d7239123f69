"""Time an epoch beside other ways to train the same VAE; time the scripts as well.

    python tests/benchmark.py                   MNIST, 3 runs of 5 epochs each
    python tests/benchmark.py --runs 1          a quick look

Every contender trains in a process of its own, in turn, so that a drift of the
machine's speed affects all of them. Seconds are the median over all epochs but each
run's first, which compiles; the held-out loss is the mean over runs, which differ in
their seed. Scripts are timed as a whole, in turn, too: medians over runs, and ratios to
the import of Keras. Memory is the peak, per byte of pixels.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import tyro

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

CONTENDERS = {  # name: description, backend, options of the lesson's Config
    "default": ("this project on TensorFlow", "tensorflow", {}),
    "noise": ("the same with `--noise 0.5`", "tensorflow", {"noise": 0.5}),
    "binarize": ("the same with `--binarize`", "tensorflow", {"binarize": True}),
    "gated": ("the same with `--gated`", "tensorflow", {"gated": True}),
    "gated128": (
        "the same with `--gated --hidden 128`",
        "tensorflow",
        {"gated": True, "hidden": (128,)},
    ),
    "wide": ("the same with `--hidden 512`", "tensorflow", {"hidden": (512,)}),
    "plain": ("Keras' plain `fit` of the same model", "tensorflow", {}),
    "jax": ("this project on JAX", "jax", {}),
    "keras-torch": ("this project on PyTorch", "torch", {}),
    "torch": ("PyTorch's eager loop, same architecture", "torch", {}),
    "numpy": ("the five matrix products alone (NumPy)", "tensorflow", {}),
}


@dataclasses.dataclass
class Options:
    data: str = "mnist"  # as for vae_mnist.py
    epochs: int = 5  # per run
    runs: int = 3  # per contender, with seeds 0, 1, …
    contender: str = ""  # used internally: the one to run in this process
    seed: int = 0  # used internally


def train_with_keras(dataset, config, name):
    """Return the seconds of each epoch of the lesson's VAE, and its held-out loss."""
    import vae_mnist
    from support.backend import keras

    class Stopwatch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_test_begin(self, logs=None):  # Training ends where validation begins.
            seconds.append(time.perf_counter() - self.start)

    seconds = []
    images, held_out = dataset.train.images, dataset.test.images
    vae = vae_mnist.VAE(images.shape[1:], config)
    vae.adapt(images)
    vae_mnist.compile_vae(vae, len(images))
    if name == "plain":
        vae.compile(vae.optimizer, jit_compile=False)
    history = vae_mnist.fit_vae(vae, images, held_out, callbacks=[Stopwatch()])
    return seconds, history.history["val_loss"][-1]


def train_with_torch(dataset, config):
    """Do the same in PyTorch as a tutorial would."""
    import torch
    from torch import nn

    images = torch.from_numpy(dataset.train.images).flatten(1)
    held_out = torch.from_numpy(dataset.test.images).flatten(1)
    pixels = images.shape[1]
    encode, decode = nn.Linear(pixels, 256), nn.Linear(2, 256)
    to_mean, to_log_sigma = nn.Linear(256, 2), nn.Linear(256, 2)
    to_logits = nn.Linear(256, pixels)
    model = nn.ModuleList([encode, to_mean, to_log_sigma, decode, to_logits])

    def negative_elbo(batch):
        x = batch / 255
        h = encode(x).tanh()
        mean, log_sigma = to_mean(h), to_log_sigma(h)
        z = mean + log_sigma.exp() * torch.randn_like(mean)
        logits = to_logits(decode(z).tanh())
        reconstruction = nn.functional.binary_cross_entropy_with_logits(
            logits, x, reduction="sum"
        )
        kl = 0.5 * (torch.exp(2 * log_sigma) + mean**2 - 1 - 2 * log_sigma).sum()
        return (reconstruction + kl) / len(x)

    batch_size, seconds = 100, []
    optimizer = torch.optim.RMSprop(
        model.parameters(), 1e-3, alpha=0.9, eps=1e-7, momentum=0.9
    )
    steps = len(images) // batch_size * config.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(config.epochs):
        start = time.perf_counter()
        for indices in torch.randperm(len(images)).split(batch_size):
            optimizer.zero_grad()
            negative_elbo(images[indices]).backward()
            optimizer.step()
            schedule.step()
        seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        return seconds, negative_elbo(held_out).item()


def multiply_matrices(dataset, config):
    """Return the seconds per epoch of the products that dominate a step."""
    import numpy as np

    batch, pixels, hidden = 100, dataset.train.images[0].size, 256
    shapes = {"x": (batch, pixels), "encoder": (pixels, hidden), "h": (batch, hidden)}
    shapes |= {"decoder": (hidden, pixels), "gradient": (batch, pixels)}
    rng = np.random.default_rng(0)
    x, encoder, h, decoder, gradient = (
        rng.standard_normal(shape, dtype="float32") for shape in shapes.values()
    )
    seconds = []
    for _ in range(config.epochs):
        start = time.perf_counter()
        for _ in range(len(dataset.train.images) // batch):
            x @ encoder  # forward
            h @ decoder
            h.T @ gradient  # backward: the decoder's kernel,
            gradient @ decoder.T  # its input,
            x.T @ h  # and the encoder's kernel
        seconds.append(time.perf_counter() - start)
    return seconds


def contend(options):
    """Run one contender in this process and print its result as JSON."""
    import vae_mnist
    from support import data
    from support.backend import set_seed

    name, dataset = options.contender, data.load(options.data)
    set_seed(options.seed)
    more = CONTENDERS[name][2]
    config = vae_mnist.Config(epochs=options.epochs, seed=options.seed, **more)
    if name == "torch":
        result = train_with_torch(dataset, config)
    elif name == "numpy":
        result = multiply_matrices(dataset, config), None
    else:
        result = train_with_keras(dataset, config, name)
    print(json.dumps(result))


def start(name, backend, options, seed):
    """Return the result of a contender that runs in a process of its own."""
    values = dataclasses.asdict(options) | {"contender": name, "seed": seed}
    words = [f"--{name}={value}" for name, value in values.items()]
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env=os.environ | {"KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory(folder, script, *words):
    """Run a script in a folder. Return the most memory that it needed, in bytes."""
    start = [script] if script.endswith(".py") else ["-m", script]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *start, *words], cwd=folder, env=env, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, script
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_memory(folder, sizes=(1600, 9600)):
    """Return, by script, how much more memory it needs per byte of pixels.

    sizes: numbers of images of 64×64 pixels in color; a fifth of them are held out.
    """
    import numpy as np

    scripts = {str(ROOT / "vae_mnist.py"): ["--epochs", "1", "--hidden", "16"]}
    scripts |= {str(ROOT / "plot_latent.py"): [], "extras.evaluate": ["--samples", "9"]}
    scripts |= {"extras.reconstruct": [], "extras.explore": []}
    peaks, pixels = {name: [] for name in scripts}, []
    for count in sizes:
        images = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), "uint8")
        np.save(folder / "images.npy", images)
        pixels.append(images.size)
        for name, words in scripts.items():
            data = ["--data", "images.npy"] if "vae_mnist" in name else []
            peaks[name].append(peak_memory(folder, name, *words, *data))
    return {
        pathlib.Path(name).name: (more - less) / (pixels[1] - pixels[0])
        for name, (less, more) in peaks.items()
    }


def save_photos(folder, count=500):
    """Save JPEG files of 800 × 600 pixels, blurred noise, in two classes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), "uint8"))
        (folder / f"class {i % 2}").mkdir(parents=True, exist_ok=True)
        small.resize((800, 600)).save(folder / f"class {i % 2}" / f"{i}.jpg")


def time_scripts(folder, runs):
    """Return the seconds of each run of Keras' import and of the scripts, by name."""
    save_photos(folder / "photos")
    sample = ["vae_mnist.py", "--data", "mnist_sample", "--epochs"]
    commands = {
        "`import keras`, with TensorFlow": ["-c", "import keras"],
        "`vae_mnist.py --data mnist_sample --epochs 1`": [*sample, "1"],
        "`vae_mnist.py --data mnist_sample`, 20 epochs": [*sample, "20"],
        "`plot_latent.py`": ["plot_latent.py"],
        "`generate_grid.py`": ["generate_grid.py"],
        "`extras.evaluate`, 1,000 digits": ["-m", "extras.evaluate"],
        "reading 500 JPEG files of 800 × 600": [
            "-c",
            "from support import data; data.load('photos', 64, True)",
        ],
    }
    env = os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
    seconds = {name: [] for name in commands}
    for _ in range(runs):
        for name, words in commands.items():
            if words[0].endswith(".py"):
                words = [str(ROOT / words[0]), *words[1:]]
            start = time.perf_counter()
            command = [sys.executable, *words]
            subprocess.run(
                command, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True
            )
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main(options):
    installed = {k: v for k, v in CONTENDERS.items() if importlib.util.find_spec(v[1])}
    results = {name: [] for name in installed}
    for seed in range(options.runs):
        for name, (description, backend, _) in installed.items():
            print(f"run {seed + 1} of {options.runs}: {description}", file=sys.stderr)
            results[name].append(start(name, backend, options, seed))
    print("| | seconds | ratio | held-out loss |\n|---|---|---|---|")
    for name, rows in results.items():
        times, losses = zip(*rows, strict=True)
        seconds = statistics.median(s for run in times for s in run[1:])
        if name == "default":
            baseline = seconds
        cells = [installed[name][0], f"{seconds:.2f}", f"{seconds / baseline:.2f}"]
        cells.append("" if None in losses else f"{statistics.mean(losses):.1f}")
        print("| " + " | ".join(cells) + " |")
    with tempfile.TemporaryDirectory() as folder:
        scripts = time_scripts(pathlib.Path(folder), options.runs)
    print("\n| | seconds | ratio |\n|---|---|---|")
    baseline = None
    for name, times in scripts.items():
        seconds = statistics.median(times)
        baseline = baseline or seconds
        print(f"| {name} | {seconds:.1f} | {seconds / baseline:.2f} |")
    with tempfile.TemporaryDirectory() as folder:
        memory = measure_memory(pathlib.Path(folder))
    print("\n| memory | bytes per byte of pixels |\n|---|---|")
    for name, ratio in memory.items():
        print(f"| `{name}` | {ratio:.2f} |")
    packages = filter(
        importlib.util.find_spec, ["tensorflow", "jax", "torch", "keras", "numpy"]
    )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    print(f"\n{os.cpu_count()} cores; {', '.join(versions)}; {time.strftime('%F')}")


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    if options.contender:
        contend(options)
    else:
        main(options)
