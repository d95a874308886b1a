"""The devices that train together: one, several GPUs of a host, or several hosts.

All of it is ``tf.distribute``. What a training does follows from its settings, not from
the number of devices: ``train.batch_size`` photos make a batch wherever its parts are
worked on, gradients are summed over the devices before anything is done with them, and
batch norm sees the whole batch. So one device and eight give the same curve but for
rounding and dropout, and a run may be resumed on other hardware.

More devices pay only with larger batches. ``train.per_device`` makes batch size and
learning rates those of one device: both grow with their number (linear scaling, Goyal et
al., arXiv:1706.02677; it holds with a warm-up and up to some 8,000 photos), and an epoch
has that many fewer steps. Such a run is of its number of devices for good.

Several hosts are started by hand: the same command on each, with its own ``TF_CONFIG``::

    TF_CONFIG='{"cluster": {"worker": ["a:2222", "b:2222"]},
                "task": {"type": "worker", "index": 0}}' kaggle-kit train ...

Number 0 is the chief. It alone writes, and every host must see its run folder and the
shards (a shared disk): all begin from what lies there. Where one host is lost all stop,
and go on when they are started again with ``--resume``.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.datasets import Part
from kaggle_kit.errors import ConfigError, KitError

logger = logging.getLogger(__name__)
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Workers:
    """The devices of a training, and which of the hosts this one is."""

    strategy: tf.distribute.Strategy
    n_hosts: int = 1
    host: int = 0

    @property
    def n_devices(self) -> int:
        """Devices of all hosts together."""
        return self.strategy.num_replicas_in_sync

    @property
    def chief(self) -> bool:
        """Whether this host is the one that writes."""
        return self.host == 0

    @property
    def part(self) -> Part:
        """What of every batch this host reads."""
        return Part(self.host, self.n_hosts, self.n_devices // self.n_hosts)

    def batches(self, dataset: tf.data.Dataset) -> Any:
        """What gives each device of this host its batch of ``dataset`` in turn."""
        if self.n_devices == 1:
            return dataset
        return self.strategy.distribute_datasets_from_function(lambda _: dataset)

    def everyone(self, *numbers: float) -> NDArray[np.float64]:
        """These numbers of all devices, (n_devices, k). All hosts wait for one another."""
        if self.n_devices == 1:
            return np.array([numbers], np.float64)
        return _gathering(self.strategy)(tf.constant(numbers, tf.float64)).numpy()

    def wait(self) -> None:
        """Wait until all hosts are here."""
        self.everyone(0.0)

    def require_same(self, *numbers: float) -> None:
        """Stop unless every host is at the same place of the same run.

        Raises:
            ConfigError: where hosts differ.
        """
        found = self.everyone(*numbers)
        if (found != found[0]).any():
            raise ConfigError(
                f"TF_CONFIG: expected every host to see the same run folder, got epochs "
                f"and steps {np.unique(found, axis=0).tolist()}; put --run on a disk that "
                f"all hosts share"
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Say in one line that another host is gone.

        Raises:
            KitError: a host did not answer any more.
        """
        try:
            yield
        except LOST as error:
            if self.n_hosts == 1:
                raise
            reason = " ".join(str(error).split())[:200]
            raise KitError(
                f"host {self.host} of {self.n_hosts}: expected all hosts of TF_CONFIG to "
                f"train to the end, lost one ({reason}); start all of them again with "
                f"--resume"
            ) from None


def workers() -> Workers:
    """All devices that there are: of the hosts of TF_CONFIG, or of this host.

    To be called before TensorFlow is used for anything else: several hosts have to meet
    first, and wait for one another here.

    Raises:
        ConfigError: a TF_CONFIG that does not say which worker of which this one is.
    """
    return _workers(os.environ.get("TF_CONFIG", ""))


def per_device(settings: Config, n_devices: int) -> Config:
    """The settings of a training on so many devices, where they are those of one.

    Raises:
        ConfigError: a batch cannot be shared out evenly.
    """
    train = settings.train
    if train.per_device:
        changes: dict[str, Any] = {
            "train.per_device": False,
            "train.batch_size": train.batch_size * n_devices,
            "train.learning_rate": train.learning_rate * n_devices,
        }
        if train.frozen_learning_rate:
            changes["train.frozen_learning_rate"] = (
                train.frozen_learning_rate * n_devices
            )
        return config.override(settings, changes)
    if train.batch_size % n_devices:
        raise ConfigError(
            f"train.batch_size: expected a number that the {n_devices} devices divide "
            f"evenly, got {train.batch_size}; choose another, or set train.per_device"
        )
    return settings


def synchronise(model: keras.Model) -> None:
    """Let every batch norm of a network see the batches of all devices as one."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            synchronise(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@functools.cache  # a process meets the others once
def _workers(text: str) -> Workers:
    if text:
        cluster, index = _task(text)
        found = Workers(
            tf.distribute.MultiWorkerMirroredStrategy(), len(cluster), index
        )
    elif len(tf.config.list_logical_devices("GPU")) > 1:
        found = Workers(tf.distribute.MirroredStrategy())
    else:
        found = Workers(tf.distribute.get_strategy())
    if found.n_devices > 1:
        logger.info("host %d: %d devices train", found.host, found.n_devices)
    return found


def _task(text: str) -> tuple[list[str], int]:
    """The addresses of a TF_CONFIG's workers and the number of this one."""
    try:
        values = json.loads(text)
        names, task = values["cluster"]["worker"], values["task"]
        index = int(task["index"])
        known = 0 <= index < len(names) and set(values["cluster"]) == {"worker"}
        if known and task["type"] == "worker":
            return names, index
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigError(
        f"TF_CONFIG: expected cluster.worker, a list of host:port, and a task of type "
        f"worker with its index, got {text[:200]}; see the text atop "
        f"kaggle_kit/training/distribute.py"
    )


@functools.cache
def _gathering(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """What adds up tables, (devices, k), in which each device fills its own row."""

    def row(numbers: tf.Tensor) -> tf.Tensor:
        place = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = tf.one_hot(place, strategy.num_replicas_in_sync, dtype=numbers.dtype)
        return own[:, None] * numbers[None]

    @tf.function
    def gather(numbers: tf.Tensor) -> tf.Tensor:
        rows = strategy.run(row, args=(numbers,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, rows, axis=None)

    return gather
