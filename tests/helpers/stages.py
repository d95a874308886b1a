"""The stages that write: how each is called, what it makes, and when that is whole."""

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

import kaggle_kit
from kaggle_kit import config, run
from kaggle_kit.data.layout import Competition
from kaggle_kit.kaggle import ledger
from kaggle_kit.metrics.score import validate
from kaggle_kit.rehearsal import rehearse
from tests.helpers.attempts import Attempts, Ended

DEMO = Path(kaggle_kit.__file__).parents[1] / "configs" / "demo.yaml"
CONFIG = f"""extends: {DEMO}
name: small
data: {{image_size: 32, stored_size: 36, shard_images: 16}}
model: {{backbone: tiny}}
train: {{epochs: 2, batch_size: 16, warmup_epochs: 0, checkpoint_minutes: 0.001}}
recognition: {{batch_size: 8}}
"""
# What a name ends in that stands for nothing yet.
UNFINISHED = (".kit.part", ".kit.old", ".kit.lock", ".kit.soft")
N_ROWS = 4


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files of a folder by their names there."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in files}


def numbers(content: bytes, name: str) -> dict[str, Any]:
    """Every array of weights or of a checkpoint, read to its last byte."""
    if name.endswith(".npz"):
        with np.load(io.BytesIO(content)) as file:
            return {key: file[key].tobytes() for key in file}
    found: dict[str, Any] = {}
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(
            lambda key, at: (
                found.update({key: at[()].tobytes()})
                if isinstance(at, h5py.Dataset)
                else None
            )
        )
    return found


def trained(path: Path) -> dict[str, Any]:
    """What a run holds, but for how long it took and what is unfinished."""
    found: dict[str, Any] = {}
    for name, content in contents(path).items():
        if name.startswith("part-") or name.endswith(UNFINISHED):
            continue
        if name.endswith((".h5", ".npz")):
            found[name] = numbers(content, name)
        elif name == "history.csv":
            table = pd.read_csv(io.BytesIO(content)).drop(columns="seconds")
            found[name] = table.to_dict("records")
        else:
            found[name] = content
    return found


def check_same(found: dict[str, Any], whole: dict[str, Any]) -> None:
    """Every file is the one of the whole result."""
    for name, content in found.items():
        assert content == whole[name], f"{name} is neither absent nor whole"


def check_run(found: dict[str, Any], whole: dict[str, Any]) -> None:
    """Tables are the whole's, the history its beginning, all arrays are there."""
    for name, content in found.items():
        if name == "history.csv":
            assert content == whole[name][: len(content)]
        elif name.endswith((".h5", ".npz")):
            like = "checkpoint-0002.npz" if name.endswith(".npz") else name
            sizes = {key: len(value) for key, value in content.items()}
            sizes.pop("place", None)
            expected = {key: len(value) for key, value in whole[like].items()}
            expected.pop("place", None)
            assert sizes == expected, name
        else:
            assert content == whole[name], name
    n_epochs = len(found.get("history.csv", []))
    if n_epochs:
        assert f"checkpoint-{n_epochs:04d}.npz" in found
        assert "model.weights.h5" in found


def check_rows(found: dict[str, Any], whole: dict[str, Any]) -> None:
    """The first rows of the ledger."""
    for name, content in found.items():
        assert whole[name].startswith(content) and content.endswith(b"\n")


def check_guesses(found: dict[str, Any], whole: dict[str, Any]) -> None:
    """A row for each id in its order, with its guess or none yet."""
    for name, content in found.items():
        rows = zip(content.splitlines(), whole[name].splitlines(), strict=True)
        for row, final in rows:
            assert row in (final, final.split(b",")[0] + b",")
        assert content.endswith(b"\n")


@dataclass(frozen=True)
class Stage:
    """A stage that writes.

    ``args`` have ``{made}`` for the folder of what is there before, ``{here}`` for the
    one it writes into.
    """

    name: str
    args: str
    outs: tuple[str, ...]
    found: Callable[[Path], dict[str, Any]] = contents
    check: Callable[[dict[str, Any], dict[str, Any]], None] = check_same
    again: str = ""  # what is added to go on

    def words(self, made: Path, here: Path, again: bool = False) -> list[str]:
        text = f"{self.args} {self.again}" if again else self.args
        return [word.format(made=made, here=here) for word in text.split()]

    def result(self, here: Path) -> dict[str, dict[str, Any]]:
        """What is there of each of its outputs."""
        return {o: self.found(here / o) for o in self.outs if (here / o).exists()}

    def check_nothing_half(self, here: Path, whole: dict[str, dict[str, Any]]) -> None:
        """Whatever has its final name is whole."""
        for path in here.iterdir():
            assert path.name in self.outs or path.name.endswith(UNFINISHED), path
        for out, found in self.result(here).items():
            self.check(found, whole[out])
            if (here / out).is_dir() and self.check is check_same:
                assert found.keys() == whole[out].keys(), f"{out} lacks files"

    def check_whole(self, here: Path, whole: dict[str, dict[str, Any]]) -> None:
        """All is as if nothing had happened, with nothing left beside."""
        assert sorted(p.name for p in here.iterdir()) == sorted(self.outs)
        assert self.result(here).keys() == whole.keys()
        for out, found in self.result(here).items():
            assert found.keys() == whole[out].keys(), out
            for name, content in found.items():
                assert content == whole[out][name], f"{out}/{name}"


COMPETITION = "--competition {made}/competition"
WORK = "--config {made}/small.yaml " + COMPETITION
STAGES = [
    Stage("subset", f"subset {WORK} --out {{here}}/subset", ("subset",)),
    Stage(
        "index",
        f"index {COMPETITION} --out {{here}}/index.csv",
        ("index.csv", "index.broken.csv"),
    ),
    Stage(
        "sheet",
        f"index {COMPETITION} --out {{here}}/index.csv --report",
        ("index.csv", "index.broken.csv", "index.report.html"),
    ),
    Stage(
        "shards",
        f"shards {WORK} --subset {{made}}/subset --out {{here}}/shards",
        ("shards",),
    ),
    Stage(
        "train",
        "train --config {made}/small.yaml --shards {made}/shards --run {here}/run",
        ("run",),
        trained,
        check_run,
        again="--resume",
    ),
    Stage(
        "bundle",
        f"bundle {COMPETITION} --run {{made}}/run --out {{here}}/bundle",
        ("bundle",),
    ),
    Stage(
        "predict",
        f"predict {COMPETITION} --bundle {{made}}/bundle --out {{here}}/submission.csv",
        ("submission.csv",),
        check=check_guesses,
    ),
    Stage(
        "report",
        "report --run {made}/run --submission {made}/submission.csv "
        "--solution {made}/competition/solution.csv --out {here}/report.html",
        ("report.html",),
    ),
    Stage("app", "app --bundle {made}/bundle --export {here}/app", ("app",)),
    Stage(
        "ledger",
        "tests.helpers.stages:write_ledger {here}/ledger.csv a",
        ("ledger.csv",),
        check=check_rows,
    ),
]
BY_NAME = {stage.name: stage for stage in STAGES}


def write_ledger(path: str, name: str) -> None:
    """Write some rows, those that are there again."""
    for i in range(N_ROWS):
        row = replace(ledger.EMPTY_ROW, ref=f"{name}{i}", message="long" * 1000)
        ledger.save_row(row, Path(path))


def lay_out(out: str, made: str) -> None:
    """Begin a rehearsal of what is a bundle as far as its files go."""
    place = Competition(Path(made) / "competition")
    rehearse._lay_out(Path(out), place, Path(made) / "subset")


def open_folder(out: str, made: str) -> None:
    """Begin to do it all."""
    run._open_folder(config.load(Path(made) / "small.yaml"), Path(out))


class Made:
    """What undisturbed stages make, each from what those before it have made."""

    def __init__(self, folder: Path, competition: Path, attempts: Attempts):
        self.folder, self.attempts = folder, attempts
        self.ended: dict[str, Ended] = {}
        self.whole: dict[str, dict[str, dict[str, Any]]] = {}
        linked(competition, folder / "competition")
        (folder / "small.yaml").write_text(CONFIG)

    def begin(self, name: str) -> Stage:
        """Make all that a stage needs, and what it makes itself; the stage."""
        stage = BY_NAME[name]
        for needed in STAGES[: STAGES.index(stage) + 1]:
            asked = f"{{made}}/{needed.outs[0]}" in stage.args or needed is stage
            if asked and needed.name not in self.ended:
                if needed is not stage:
                    self.begin(needed.name)
                self._make(needed)
        return stage

    def _make(self, stage: Stage) -> None:
        if stage.name in self.ended:
            return
        words = stage.words(self.folder, self.folder)
        ended = self.attempts.run(self.folder, *words)
        assert ended.code == 0, ended.err
        self.ended[stage.name] = ended
        self.whole[stage.name] = stage.result(self.folder)


def linked(source: Path, target: Path) -> None:
    """A copy of a folder in no time; what is removed of it stays in the source."""
    shutil.copytree(source, target, copy_function=os.link)


def check_valid(made: Path, submission: Path) -> None:
    """Kaggle would take a submission."""
    sample = made / "competition" / "sample_submission.csv"
    assert validate(submission, sample).valid
