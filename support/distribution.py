"""Several devices of one machine, or of several: every one trains on its own share."""

import contextlib
import math
import os
import sys
import typing

import numpy as np

from support.backend import keras, ops, quiet_start


class Team(typing.NamedTuple):
    """Who trains: this process, by its number, of how many; on how many devices."""

    process: int = 0
    processes: int = 1
    devices: int = 1


def join():
    """Joins the processes of a distributed run, to train on all their devices.

    keras.distribution reads addresses and numbers from KERAS_DISTRIBUTION_* variables.
    Returns the Team. Raises ValueError where there is nothing to distribute over.
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
            " KERAS_DISTRIBUTION_* variables that docs/backends.md names"
        )
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(auto_shard_dataset=False)
    )
    return Team(process, processes, devices)


def share(images, held_out, batch_size, team):
    """What one of the processes trains on, evaluates on, and takes in one step.

    Shares are of equal size, divisible by the devices: of the images up to devices − 1
    are left out. Of the held-out images none is, but all are taken several times where
    their number is not divisible. Returns both as tensors, and the batch size.
    Raises ValueError where a batch can't be divided by the devices.
    """
    if batch_size % team.devices:
        raise ValueError(
            f"--batch-size {batch_size} is no multiple of {team.devices} devices"
        )
    images = images[: len(images) // team.devices * team.devices]
    times = math.lcm(len(held_out), team.devices) // len(held_out)
    held_out = np.repeat(held_out, times, axis=0) if times > 1 else held_out
    mine = slice(team.process, None, team.processes)
    # Keras would copy NumPy's arrays, and both would be kept: 110 MB for MNIST.
    images, held_out = map(ops.convert_to_tensor, (images[mine], held_out[mine]))
    return images, held_out, batch_size // team.processes


@contextlib.contextmanager
def alone():
    """Lets one process do what the others take no part in, such as saving."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


@contextlib.contextmanager
def ending_together(team):
    """Has an error in one process end the others soon, too."""
    try:
        yield
    except Exception as error:
        if team.processes == 1:
            raise
        # JAX would first wait 100 s for the process that is gone.
        told = " ".join(str(error).split())
        print(f"error: {told}; --resume goes on after the last epoch", file=sys.stderr)
        sys.stdout.flush()
        os._exit(1)
