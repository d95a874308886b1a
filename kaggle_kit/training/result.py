"""What a training returns. No TensorFlow: other processes and hosts send these objects."""

from dataclasses import dataclass, field

from kaggle_kit.storage.json_files import OPTIONAL, JsonObject


@dataclass(frozen=True)
class TrainingResult(JsonObject):
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
    best_epoch: int | None = field(default=None, metadata=OPTIONAL)
    best: dict[str, float] | None = field(default=None, metadata=OPTIONAL)
    minutes: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class ShardCounts(JsonObject):
    """Images in the shards of each split, and images that are missing or do not decode."""

    train: int
    validation: int
    broken: int


@dataclass(frozen=True)
class ShardsAndTraining:
    """What the stages between the subset and the bundle did.

    Attributes:
        shards: None if no shards were needed.
        training: how far the training is.
    """

    shards: ShardCounts | None
    training: TrainingResult
