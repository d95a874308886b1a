"""One epoch: its batches, stopped and saved between any two of them, and what it shows."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.progress import progress
from kaggle_kit.training.checkpoint import load_state, read_place, save_state
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.run_folder import within_path
from kaggle_kit.training.train_step import Step

# What reading a damaged shard raises: a wrong checksum, no photo, too few of them, no file.
DAMAGE = (
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
)


@dataclass
class Place:
    """How far an epoch is.

    ``sums`` are those of ``Step.train`` over the batches that are done; ``seconds`` is how
    long these took, in earlier processes too.
    """

    epoch: int  # counted from 0
    done: int = 0  # batches
    seconds: float = 0.0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def values(self) -> dict[str, float]:
        """Accuracy and loss so far."""
        return means(self.sums)


def save_within(run_dir: Path, step: Step, place: Place) -> None:
    """Keep a training's state within an epoch, in place of the last one kept."""
    numbers = [place.done, place.seconds, *place.sums]
    save_state(within_path(run_dir, place.epoch), step.variables, numbers)


def load_within(run_dir: Path, step: Step, epoch: int) -> Place:
    """Go on from the state that was kept within an epoch.

    Raises:
        ArtefactError: there is none, or it is damaged or of another network.
    """
    path = within_path(run_dir, epoch)
    done, seconds, *sums = load_state(path, step.variables)
    return Place(epoch, int(done), seconds, np.array(sums))


def steps_within(run_dir: Path, epoch: int) -> int:
    """How many batches of an epoch are kept, if it is not over; 0 where there are none."""
    path = within_path(run_dir, epoch)
    return int(read_place(path)[0]) if path.exists() else 0


def train_epoch(
    step: Step,
    batches: Any,
    place: Place,
    n_steps: int,
    settings: config.Train,
    run_dir: Path,
    team: Workers,
    stop_at: float,
) -> bool:
    """Train on the batches of an epoch that are left, moving ``place`` on.

    Returns:
        Whether the epoch is over; else the time was, and the state is kept.

    Raises:
        ConfigError: the loss is not finite.
        ArtefactError: a shard is damaged.
    """
    label = f"epoch {place.epoch + 1}/{settings.epochs}"
    frozen = settings.frozen_epochs
    first = frozen if place.epoch >= frozen else 0  # epoch of this optimiser
    earlier, start = place.seconds, time.monotonic()
    saved = start
    batches = _whole(team.batches(batches))
    with progress(total=n_steps, label=label) as bar:
        bar.update(place.done)
        while place.done < n_steps:
            if _out_of_time(team, stop_at):
                if team.chief and place.done:
                    save_within(run_dir, step, place)
                return False
            number = (place.epoch - first) * n_steps + place.done
            place.sums += step.train(next(batches), number)
            place.done += 1
            now = time.monotonic()
            place.seconds = earlier + now - start
            bar.update()
            bar.set_postfix(loss=f"{place.values()['loss']:.3f}", refresh=False)
            due = now - saved >= 60 * settings.checkpoint_minutes
            if due and team.chief and place.done < n_steps:
                save_within(run_dir, step, place)
                saved = now
    loss = place.values()["loss"]
    if not math.isfinite(loss):
        raise ConfigError(
            f"{label}: expected a finite loss, got {loss}; lower train.learning_rate or "
            f"set train.clip_norm, and train into another --run"
        )
    return True


def validated(step: Step, batches: Iterable[Any] | None) -> dict[str, float]:
    """What the network makes of the validation photos, if there are any."""
    if batches is None:
        return {}
    sums = np.zeros(3)
    for batch in _whole(batches):
        sums += step.validate(batch)
    return {f"val_{name}": value for name, value in means(sums).items()}


def _whole(batches: Iterable[Any]) -> Iterator[Any]:
    """Batches of shards, whose records have checksums and whose photos decode.

    Raises:
        ArtefactError: one that has not, or does not.
    """
    try:
        yield from batches
    except DAMAGE as error:
        raise ArtefactError(
            f"shards: expected photos as kaggle-kit shards wrote them, got "
            f"{error.message!r:.200}; make the shards again"
        ) from None


def means(sums: NDArray[np.float64]) -> dict[str, float]:
    """Accuracy and loss, of the sums over photos that ``Step`` gives."""
    loss, right, n_photos = sums
    return {
        "accuracy": round(float(right / n_photos), 6),
        "loss": round(float(loss / n_photos), 6),
    }


def _out_of_time(team: Workers, stop_at: float) -> bool:
    """Whether the time is up for one of the hosts; all of them stop at the same batch."""
    if math.isinf(stop_at):
        return False
    return bool(team.everyone(time.monotonic() >= stop_at).any())
