"""The devices that train together: one, several GPUs of a host, or several hosts.

All of it is ``tf.distribute``. The result depends on the settings, not on the number of
devices: ``train.batch_size`` images make one batch however it is divided, gradients are
summed over the devices before they are clipped or applied, and batch norm sees the whole
batch. So one device and eight give the same curve except for rounding and dropout, and a
run can be resumed on other hardware.

More devices are faster only with larger batches. With ``train.per_device`` batch size and
learning rates are those of one device, and both grow with the number of devices (linear
scaling, Goyal et al., arXiv:1706.02677, who show it for SGD with a warm-up and up to about
8,000 images; here it is applied to every optimizer). An epoch has that many fewer steps. Such a run keeps its number of devices.

Several hosts are started by hand: the same command on each, with its own ``TF_CONFIG``::

    TF_CONFIG='{"cluster": {"worker": ["a:2222", "b:2222"]},
                "task": {"type": "worker", "index": 0}}' kaggle-kit train ...

Number 0 is the chief. It alone writes. Every host must see the run directory and the
shards on a shared disk, because all resume from what is there. If one host is lost, all
stop; start all of them again with ``--resume``.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.datasets import Part
from kaggle_kit.errors import ArtefactError, ConfigError, KitError
from kaggle_kit.frameworks import tf

logger = logging.getLogger(__name__)
# What a damaged shard raises: a wrong checksum, no image, too few images, no file.
DAMAGED_SHARD = (
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
)
LOST_HOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Workers:
    """The devices of a training, and the index of this host among the hosts."""

    strategy: tf.distribute.Strategy
    n_hosts: int = 1
    host: int = 0

    @property
    def n_devices(self) -> int:
        """The number of devices, of all hosts together."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this host is the one that writes."""
        return self.host == 0

    @property
    def batch_share(self) -> Part:
        """The share of every batch that this host reads."""
        return Part(self.host, self.n_hosts, self.n_devices // self.n_hosts)

    def batches(self, dataset: tf.data.Dataset) -> Iterator[Any]:
        """Yield batches of ``dataset``: one for every device of this host at a time.

        Raises:
            ArtefactError: a record has a wrong checksum, or its image does not decode.
        """
        batches: Any = dataset
        if self.n_devices > 1:
            batches = self.strategy.distribute_datasets_from_function(lambda _: dataset)
        try:
            yield from batches
        except DAMAGED_SHARD as error:
            raise ArtefactError(
                f"shards: expected images as kaggle-kit shards wrote them, got "
                f"{error.message!r:.200}; delete their folder and make the shards again"
            ) from None

    def gather(self, *numbers: float) -> NDArray[np.float64]:
        """The numbers of all devices, (n_devices, k). Every host waits for the others."""
        if self.n_devices == 1:
            return np.array([numbers], np.float64)
        return _gather_function(self.strategy)(tf.constant(numbers, tf.float64)).numpy()

    def wait(self) -> None:
        """Wait until all hosts have come to this call."""
        self.gather(0.0)

    def require_same(self, *numbers: float) -> None:
        """Stop unless every host has the same epoch and step.

        Raises:
            ConfigError: the hosts differ.
        """
        rows = self.gather(*numbers)
        if (rows != rows[0]).any():
            raise ConfigError(
                f"TF_CONFIG: expected every host to see the same run directory, got epochs "
                f"and steps {np.unique(rows, axis=0).tolist()}; put --run on a disk that "
                f"all hosts share"
            )

    @contextmanager
    def report_lost_host(self) -> Iterator[None]:
        """Turn TensorFlow's errors for a lost host into one line.

        Raises:
            KitError: a host does not answer any more.
        """
        try:
            yield
        except LOST_HOST as error:
            if self.n_hosts == 1:
                raise
            reason = " ".join(str(error).split())[:200]
            raise KitError(
                f"host {self.host} of {self.n_hosts}: expected all hosts of TF_CONFIG to "
                f"train to the end, lost one ({reason}); start all of them again with "
                f"--resume"
            ) from None


def find_workers() -> Workers:
    """All devices: of the hosts in TF_CONFIG, or of this host.

    Call it before any other use of TensorFlow: with several hosts, it waits until all of
    them have connected.

    Raises:
        ConfigError: TF_CONFIG does not name the workers and the index of this one.
    """
    return _find_workers(os.environ.get("TF_CONFIG", ""))


def scale_settings(settings: Config, n_devices: int) -> Config:
    """The settings for ``n_devices``, where ``train.per_device`` gives those of one.

    Raises:
        ConfigError: the devices do not divide a batch evenly.
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
            f"train.batch_size: expected a multiple of the {n_devices} devices, got "
            f"{train.batch_size}; choose another, or set train.per_device"
        )
    return settings


@functools.cache  # a process connects to the other hosts once
def _find_workers(tf_config: str) -> Workers:
    if tf_config:
        cluster, index = _parse_tf_config(tf_config)
        logger.info(
            "waiting for the hosts of TF_CONFIG: %s", ", ".join(map(str, cluster))
        )
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        workers = Workers(strategy, len(cluster), index)
    elif len(tf.config.list_logical_devices("GPU")) > 1:
        workers = Workers(tf.distribute.MirroredStrategy())
    else:
        workers = Workers(tf.distribute.get_strategy())
    if workers.n_devices > 1:
        logger.info("host %d: %d devices train", workers.host, workers.n_devices)
    return workers


def _parse_tf_config(tf_config: str) -> tuple[list[str], int]:
    """The addresses of the workers, and the index of this one."""
    try:
        values = json.loads(tf_config)
        addresses, task = values["cluster"]["worker"], values["task"]
        index = int(task["index"])
        only_workers = set(values["cluster"]) == {"worker"} and task["type"] == "worker"
        if only_workers and 0 <= index < len(addresses):
            return addresses, index
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigError(
        f"TF_CONFIG: expected cluster.worker, a list of host:port, and a task of type "
        f"worker with its index, got {tf_config[:200]}; see the docstring of "
        f"kaggle_kit/training/distribute.py"
    )


@functools.cache
def _gather_function(
    strategy: tf.distribute.Strategy,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from the (k,) numbers of each device to the (n_devices, k) of all.

    Each device fills its own row of a table of zeros; the sum of the tables is the result.
    """

    def fill_row(numbers: tf.Tensor) -> tf.Tensor:
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        row = tf.one_hot(device, strategy.num_replicas_in_sync, dtype=numbers.dtype)
        return row[:, None] * numbers[None]

    @tf.function
    def gather(numbers: tf.Tensor) -> tf.Tensor:
        tables = strategy.run(fill_row, args=(numbers,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, tables, axis=None)

    return gather
