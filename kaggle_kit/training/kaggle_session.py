"""Training in sessions of limited time: each resumes from the output of the one before."""

import contextlib
import logging
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.shards import shards
from kaggle_kit.data.subset import SubsetCounts, count_members, subset
from kaggle_kit.errors import ArtefactError
from kaggle_kit.limits import require_stop
from kaggle_kit.model.pretrained import IMAGENET, LITE0_FILE, PACKAGE
from kaggle_kit.storage import tables
from kaggle_kit.storage.json_files import JsonObject, write_json
from kaggle_kit.storage.manifest import BundleManifest, verify
from kaggle_kit.training.checkpoint import EpochProgress
from kaggle_kit.training.distribute import find_workers, scale_settings
from kaggle_kit.training.result import ShardCounts, ShardsAndTraining, TrainingResult
from kaggle_kit.training.run_directory import RunDirectory, is_finished
from kaggle_kit.training.trainer import train

logger = logging.getLogger(__name__)
RUN, RESULT = "run", "session.json"  # the output of a session


@dataclass(frozen=True)
class SessionResult(JsonObject):
    """What a session did, as ``session.json`` holds it.

    Attributes:
        config: the name of the config.
        finished, epochs, of, steps: as in ``TrainingResult``.
        epochs_before, steps_before: the same at the beginning of the session.
        seconds: the time of the session.
        subset: landmarks, and images per split.
        shards: None if no shards were needed.
        training: how far the training is.
        next: what to do next.
    """

    config: str
    finished: bool
    epochs: int
    of: int
    steps: int
    epochs_before: int
    steps_before: int
    seconds: float
    subset: SubsetCounts
    shards: ShardCounts | None
    training: TrainingResult
    next: str


def train_in_session(
    bundle: Path,
    competition: Path,
    out: Path,
    earlier: Path | None = None,
    stop_at: float = math.inf,
) -> SessionResult:
    """Train with a bundle's config until it is done or the time is up.

    Subset, shards and training, as in ``kaggle-kit run``, but the pools of non-landmarks
    are made with the bundle: training does not need them. The run is written to
    ``out/run`` and, last, the result to ``out/session.json``; the shards are temporary.
    Consecutive sessions end with the weights of a single long one.

    Args:
        bundle: has ``config.json`` and, if that names one, a file of weights.
        earlier: the output of an earlier session, which may be read-only. Its run is
            copied and resumed, unless ``out`` already holds a run: then that one is.
        stop_at: when to stop, by ``time.monotonic``, also within an epoch. Leave enough
            time for what may still run then: one batch, or the validation of an epoch,
            and a checkpoint.

    Raises:
        KitError: as the stages; the bundle differs from its manifest; the earlier run
            has other settings or images; ``stop_at`` is not a number.
    """
    require_stop(stop_at)
    begin = time.monotonic()
    manifest = verify(bundle)
    out, competition = Path(out).absolute(), Path(competition).absolute()
    settings = config.read_json(manifest.path("config.json"))
    _check_weights(settings.model.weights, manifest)
    settings = scale_settings(settings, find_workers().n_devices)
    run = RunDirectory(out / RUN)
    if earlier is not None:
        run.copy_from(Path(earlier).absolute() / RUN)
    before = run.read_progress()
    with (
        tempfile.TemporaryDirectory(prefix="kaggle-kit-") as scratch,
        contextlib.chdir(bundle),  # the config names the file of weights relative to it
        run.lock(),
    ):
        subset_dir = Path(scratch) / "subset"
        counts = _make_subset(settings, competition, run, subset_dir)
        stages = _train_subset(settings, competition, subset_dir, run, stop_at)
    training = stages.training
    result = SessionResult(
        config=settings.name,
        finished=training.finished,
        epochs=training.epochs,
        of=training.of,
        steps=training.steps,
        epochs_before=before.epoch,
        steps_before=before.n_batches,
        seconds=round(time.monotonic() - begin, 1),
        subset=counts,
        shards=stages.shards,
        training=training,
        next=_next_action(training, before),
    )
    write_json(result, out / RESULT)
    logger.info("session: %s of %s epochs; %s", result.epochs, result.of, result.next)
    return result


def train_from_images(
    settings: Config,
    competition: Path,
    subset_dir: Path,
    shards_dir: Path,
    run_dir: Path,
    stop_at: float = math.inf,
) -> ShardsAndTraining:
    """Write shards, if there are epochs to train, and train or resume the run."""
    if not settings.train.epochs:
        return ShardsAndTraining(
            None, train(settings, subset_dir, run_dir, resume=True)
        )
    RunDirectory(run_dir).require_same_split(subset_dir)  # before shards are replaced
    manifest = shards(settings.data, competition, subset_dir, shards_dir)
    split = manifest.counts
    counts = ShardCounts(split.train, split.validation, len(manifest.broken))
    training = train(settings, shards_dir, run_dir, resume=True, stop_at=stop_at)
    return ShardsAndTraining(counts, training)


def _make_subset(
    settings: Config, competition: Path, run: RunDirectory, out: Path
) -> SubsetCounts:
    """The subset of the run that is resumed, or a new one; pools come with the bundle.

    A run's images are compared with ``train.csv`` and not read again.
    """
    if not run.config_path.exists():
        return subset(
            settings.subset, settings.seed, competition, out, with_pools=False
        )
    members = run.copy_split(out)
    table = Competition(competition).require("train.csv").train_csv
    landmark = {i: landmark for i, landmark, _ in tables.read_labels(table).tuples()}
    other = [m.image_id for m in members if landmark.get(m.image_id) != m.landmark_id]
    if other:
        raise ArtefactError(
            f"{run.path}: expected the images of {table}, got {len(other)} that it does "
            f"not list so, such as {other[0]}; attach the competition that the run began "
            f"with"
        )
    return count_members(members)


def _train_subset(
    settings: Config,
    competition: Path,
    subset_dir: Path,
    run: RunDirectory,
    stop_at: float,
) -> ShardsAndTraining:
    """Write shards only for a run that has these settings and is not finished."""
    run.open(settings, subset_dir, resume=True)
    if is_finished(run.read_history(), settings):
        return ShardsAndTraining(
            None, train(settings, subset_dir, run.path, resume=True)
        )
    shards_dir = subset_dir.with_name("shards")
    return train_from_images(
        settings, competition, subset_dir, shards_dir, run.path, stop_at
    )


def _check_weights(weights: str | None, manifest: BundleManifest) -> None:
    """Refuse initial weights that are not of the bundle, wherever its config says."""
    if weights is None:
        return
    if weights != IMAGENET:
        manifest.path(weights)
        return
    name = f"{PACKAGE}/{LITE0_FILE}"  # or of the installed package
    if (manifest.folder / name).exists():
        manifest.path(name)


def _next_action(training: TrainingResult, before: EpochProgress) -> str:
    """What to do after a session."""
    if training.finished:
        return f"download this output and run kaggle-kit bundle --run {RUN}"
    if (training.epochs, training.steps) == (before.epoch, before.n_batches):
        return (
            "no batch fits into the time of a session: choose fewer images (subset) or a "
            "smaller data.stored_size and begin without the earlier output"
        )
    return (
        f"push this kernel again with this output as an input: it goes on with epoch "
        f"{training.epochs + 1} of {training.of}, after its step {training.steps}"
    )
