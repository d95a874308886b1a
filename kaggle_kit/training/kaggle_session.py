"""Training in a session of limited time, from whose output the next one goes on."""

import contextlib
import logging
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.shards import ShardsManifest, shards
from kaggle_kit.data.subset import SubsetCounts, subset
from kaggle_kit.storage.files import lock
from kaggle_kit.storage.json_files import write_json
from kaggle_kit.storage.manifest import verify
from kaggle_kit.training.distribute import per_device, workers
from kaggle_kit.training.epoch import steps_within
from kaggle_kit.training.history import finished
from kaggle_kit.training.run_folder import copy_run, open_run, read_history
from kaggle_kit.training.trainer import fit

logger = logging.getLogger(__name__)
RUN, RESULT = "run", "session.json"  # what a session leaves


def train_in_session(
    bundle: Path,
    competition: Path,
    out: Path,
    earlier: Path | None = None,
    stop_at: float = math.inf,
) -> dict[str, Any]:
    """Train with a bundle's config until it is done or the time is up.

    Subset, shards and training, as ``kaggle-kit run`` does them. ``out`` gets the run
    (``out/run``) and, last, ``out/session.json``; the shards lie in a temporary folder.
    Sessions that follow one another end with the weights of a single long one.

    Args:
        bundle: it holds ``config.json`` and, if that names one, a file of weights.
        earlier: what an earlier session left, with its run and maybe read-only; it is
            copied and gone on with. Where ``out`` holds a run already, that one is.
        stop_at: when to stop, as a time of ``time.monotonic``, also within an epoch:
            early enough that what runs then, at most a batch or the validation of an
            epoch and the saving after it, still ends in time.

    Returns:
        What is in ``session.json``: whether the training is finished, its epochs and of
        how many, the steps of an epoch that is not over, the seconds of the session and
        of its stages, and what to do next.

    Raises:
        KitError: as the stages; the bundle is not as its manifest says; the earlier run
            is of other settings or photos.
    """
    begin = time.monotonic()
    verify(bundle)
    out, competition = Path(out).absolute(), Path(competition).absolute()
    settings = config.read_json(Path(bundle) / "config.json")
    settings = per_device(settings, workers().n_devices)
    if earlier is not None:
        copy_run(Path(earlier).absolute() / RUN, out / RUN)
    before = len(read_history(out / RUN))
    steps_before = steps_within(out / RUN, before)
    with (
        tempfile.TemporaryDirectory(prefix="kaggle-kit-") as scratch,
        contextlib.chdir(bundle),  # where a file of weights lies that the config names
        lock(out / RUN),
    ):
        chosen, made, trained = _trained(
            settings, competition, Path(scratch), out / RUN, stop_at
        )
    result = {
        "config": settings.name,
        "finished": trained["finished"],
        "epochs": trained["epochs"],
        "of": trained["of"],
        "steps": trained["steps"],
        "epochs_before": before,
        "steps_before": steps_before,
        "seconds": round(time.monotonic() - begin, 1),
        "subset": chosen.as_json(),
        "shards": made and made.counts.as_json() | {"broken": len(made.broken)},
        "training": trained,
        "next": _next(trained, (before, steps_before)),
    }
    write_json(result, out / RESULT)
    logger.info(
        "session: %s of %s epochs; %s", result["epochs"], result["of"], result["next"]
    )
    return result


def from_photos(
    settings: Config,
    competition: Path,
    subset_dir: Path,
    shards_dir: Path,
    run_dir: Path,
    stop_at: float = math.inf,
) -> tuple[ShardsManifest | None, dict[str, Any]]:
    """Shards, where they are needed, and training, going on with an earlier one.

    Returns:
        What both say of themselves.
    """
    if not settings.train.epochs:
        return None, fit(settings, subset_dir, run_dir, resume=True)
    made = shards(settings.data, competition, subset_dir, shards_dir)
    return made, fit(settings, shards_dir, run_dir, resume=True, stop_at=stop_at)


def _trained(
    settings: Config, competition: Path, scratch: Path, run_dir: Path, stop_at: float
) -> tuple[SubsetCounts, ShardsManifest | None, dict[str, Any]]:
    """All stages; no shards are made for a run that is finished or of other settings."""
    folder = scratch / "subset"
    chosen = subset(settings.subset, settings.seed, competition, folder)
    history = open_run(settings, folder, run_dir, resume=True)
    if finished(history, settings):
        return chosen, None, fit(settings, folder, run_dir, resume=True)
    shards_dir = scratch / "shards"
    return chosen, *from_photos(
        settings, competition, folder, shards_dir, run_dir, stop_at
    )


def _next(trained: dict[str, Any], before: tuple[int, int]) -> str:
    """What to do after a session."""
    if trained["finished"]:
        return f"download this output and run kaggle-kit bundle --run {RUN}"
    if (trained["epochs"], trained["steps"]) == before:
        return (
            "no batch fits into the time of a session: choose fewer photos (subset) or a "
            "smaller data.stored_size and begin without the earlier output"
        )
    return (
        f"push this kernel again with this output as an input: it goes on with epoch "
        f"{trained['epochs'] + 1} of {trained['of']}, after its step {trained['steps']}"
    )
