"""Several devices, on one machine or several: each trains on its own share (JAX)."""

import atexit
import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator

from support.backend import BACKEND, keras, quiet
from support.data import Dataset
from support.errors import UserError


class Distributed:
    """Train a Run on all devices of all its processes; only the first writes files.

    keras.distribution reads the KERAS_DISTRIBUTION_* variables (docs/backends.md). All
    shares have the same size: up to devices − 1 images of each kind are left out, and a
    batch is rounded up. Raises UserError if there is a single device.
    """

    def __init__(self, config, dataset: Dataset):
        if BACKEND != "jax":
            raise UserError("--distributed needs KERAS_BACKEND=jax")
        import jax

        if first := os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES"):
            print(f"connecting to {first}", flush=True)
            with quiet():
                keras.distribution.initialize()
        devices = len(keras.distribution.list_devices())
        if devices == 1:
            raise UserError("--distributed found a single device: see docs/backends.md")
        self.process = jax.process_index()
        self.processes = jax.process_count()
        if min(len(dataset.train.images), len(dataset.test.images)) < devices:
            raise UserError(f"--distributed: fewer images than {devices} devices")
        if spare := config.batch_size % devices:
            if config.resume:
                problem = f"batches of {config.batch_size} do not fit {devices} devices"
                raise UserError(f"{problem}: resume on as many as before")
            batch_size = config.batch_size - spare + devices
            config = dataclasses.replace(config, batch_size=batch_size)
        super().__init__(config, dataset)
        data_parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(data_parallel)
        self.images, self.held_out = keras.tree.map_structure(
            lambda x: x[: len(x) // devices * devices][self.process :: self.processes],
            (self.images, self.held_out),
        )
        batch_size = config.batch_size // self.processes
        self.config = dataclasses.replace(config, batch_size=batch_size)

    def save(self, vae: keras.Model, path: str | os.PathLike) -> None:
        # Otherwise Keras would wait for the other processes, which do not save.
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            super().save(vae, path)
        finally:
            keras.distribution.set_distribution(distribution)

    def writers(self) -> list[keras.callbacks.Callback]:
        return super().writers() if self.process == 0 else []

    @contextlib.contextmanager
    def callbacks(self) -> Iterator[list[keras.callbacks.Callback]]:
        try:
            with super().callbacks() as callbacks:
                yield callbacks
        except BaseException as error:
            if self.processes > 1:
                # At the end, JAX would wait 100 s for the other processes.
                status = 130 if isinstance(error, KeyboardInterrupt) else 1
                atexit.register(os._exit, status)
                atexit.register(sys.stdout.flush)  # before that
            raise

    def finish(self, vae: keras.Model) -> None:
        if self.process == 0:
            super().finish(vae)
