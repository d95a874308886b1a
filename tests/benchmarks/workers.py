"""Two workers against one with the same batch: how far their curves are apart."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from kaggle_kit import config
from kaggle_kit.data.subset import subset
from kaggle_kit.demo.competition import draw
from tests.benchmarks import Row
from tests.helpers.hosts import HOST, finish, start
from tests.helpers.same_runs import load_weights

SETTINGS = {
    "name": "workers",
    "data.image_size": 32,
    "data.stored_size": 36,
    "train.epochs": 3,
    "train.batch_size": 64,
    "train.clip_norm": 0.5,
}


def measure() -> list[Row]:
    """A small network on drawn images; processes that meet on loopback."""
    from kaggle_kit.data.shards import shards

    settings = config.override(config.load(Path("demo.yaml")), SETTINGS)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        draw(out / "competition", settings.seed)
        subset(settings.subset, settings.seed, out / "competition", out / "subset")
        shards(settings.data, out / "competition", out / "subset", out / "shards")
        config.write_json(settings, out / "config.json")
        curves, weights = {}, {}
        for n in (1, 2):
            run = out / f"{n}" / "run"
            hosts = start(n, HOST, out / "config.json", out / "shards", run, 0)
            said = finish(hosts)
            assert all(host.returncode == 0 for host in hosts), said
            history = pd.read_csv(run / "history.csv")
            curves[n] = history[["loss", "val_loss"]].to_numpy()
            weights[n] = [
                load_weights(run.with_name(f"host-{i}.npz")) for i in range(n)
            ]
    apart = float(np.abs(curves[2] / curves[1] - 1).max())
    pairs = list(zip(*weights[2], strict=True))
    equal = sum(np.array_equal(one, other) for one, other in pairs)
    assert apart < 1e-4 and equal == len(pairs)
    loss = [f"{curves[n][-1, 0]:.6f}" for n in (2, 1)]
    return [
        Row(
            f"loss after {len(curves[1])} epochs, two workers and one; largest relative "
            f"difference of the curves {apart:.1e}",
            *loss,
            None,
            None,
        ),
        Row(
            "arrays of weights that are equal on both workers, bit by bit",
            str(equal),
            str(len(pairs)),
            equal / len(pairs),
            1,
        ),
    ]
