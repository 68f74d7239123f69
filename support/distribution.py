"""Several devices, on one machine or several: each trains on its own share (JAX)."""

import contextlib
import os
import typing
from collections.abc import Iterator

import numpy as np

from support.backend import BACKEND, default_batch_size, keras, quiet_start
from support.cli import UserError
from support.data import Dataset


class Team(typing.NamedTuple):
    """The processes of a run, and the devices of all of them together."""

    process: int = 0  # this one
    processes: int = 1
    devices: int = 1


def join() -> Team:
    """Join the processes of a distributed run, to train on all their devices.

    keras.distribution reads the KERAS_DISTRIBUTION_* variables (docs/backends.md).
    Raises UserError if there is nothing to distribute over.
    """
    if BACKEND != "jax":
        raise UserError("--distributed needs KERAS_BACKEND=jax")
    import jax

    if first := os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES"):
        print(f"connecting to {first}", flush=True)
        with quiet_start():
            keras.distribution.initialize()
    devices = len(keras.distribution.list_devices())
    if devices == 1:
        raise UserError("--distributed found a single device: see docs/backends.md")
    data_parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(data_parallel)
    return Team(jax.process_index(), jax.process_count(), devices)


def share(
    dataset: Dataset, batch_size: int | None, team: Team
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Return the training and held-out images of this process, and its batch size.

    batch_size: of all processes together, None for the default. To make all shares the
    same size, drop up to devices − 1 images of each kind.
    Raises UserError if a batch cannot be divided.
    """
    images, held_out = (
        x[: len(x) // team.devices * team.devices][team.process :: team.processes]
        for x in (dataset.x_train, dataset.x_test)
    )
    if team.devices > 1:
        batch_size = batch_size or default_batch_size(len(dataset.x_train))
        if batch_size % team.devices:
            problem = f"--batch-size {batch_size} is not a multiple of"
            raise UserError(f"{problem} {team.devices} devices")
        batch_size //= team.processes
    return images, held_out, batch_size


@contextlib.contextmanager
def one_process() -> Iterator[None]:
    """Save from this process only, without waiting for the others."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
