"""What a training returns. No TensorFlow: other processes and hosts send these objects."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingResult:
    """How far a training is.

    Attributes:
        finished: False if it stopped because the time was up.
        epochs: whole epochs, of all processes.
        of: the epochs to train.
        steps: batches trained of an epoch that is not over.
        best_epoch: its number, from 1; None before the first epoch is over.
        best: the validation metrics of the best epoch.
        minutes: the time of all whole epochs.
    """

    finished: bool
    epochs: int
    of: int
    steps: int
    best_epoch: int | None = None
    best: dict[str, float] | None = None
    minutes: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object, without the values of the best epoch where there is none."""
        return {name: v for name, v in vars(self).items() if v is not None}


@dataclass(frozen=True)
class ShardsAndTraining:
    """What the stages between the subset and the bundle did.

    Attributes:
        shards: photos per split, and ``broken`` ones; None: no shards were needed.
        training: how far the training is.
    """

    shards: dict[str, int] | None
    training: TrainingResult
