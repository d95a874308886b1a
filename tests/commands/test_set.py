"""``--set`` works with ``--config``, and single stages give the same as ``run --set``."""

import json
from pathlib import Path

import pytest

import kaggle_kit.run
from kaggle_kit import cli, config
from kaggle_kit.bundling import ablate
from kaggle_kit.bundling.queries import Queries
from kaggle_kit.data.non_landmarks import OFF, PoolCounts
from kaggle_kit.storage import tables

CHANGES = [
    "seed=5",
    "subset.validation_share=0.3",
    "data.image_size=32",
    "data.stored_size=40",
]


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_each_command_that_takes_a_config_takes_changes():
    for name, command in cli.COMMANDS.items():
        flags = {argument.flag for argument in command.arguments}
        if flags & {"--config", "config"}:
            assert "--set" in flags, name


def test_single_stages_make_what_a_run_of_the_same_changes_makes(
    competition, tmp_path, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr(
        kaggle_kit.run, "run", lambda settings, *_: asked.append(settings) or {}
    )
    common = ["--config", "demo.yaml", "--competition", str(competition), "--set"]
    common += CHANGES
    single, whole = tmp_path / "single", tmp_path / "whole"
    assert cli.main(["run", *common, "--out", str(whole)]) == 0
    assert cli.main(["subset", *common, "--out", f"{single}/subset"]) == 0
    places = ["--subset", f"{single}/subset", "--out", f"{single}/shards"]
    assert cli.main(["shards", *common, *places]) == 0

    from kaggle_kit.data.shards import shards
    from kaggle_kit.data.subset import subset

    (settings,) = asked
    assert settings != config.load(Path("demo.yaml"))
    subset(settings.subset, settings.seed, competition, whole / "subset")
    shards(settings.data, competition, whole / "subset", whole / "shards")
    assert contents(single) == contents(whole)


def test_ablation_is_of_the_run_with_other_settings(
    local, competition, tmp_path, capsys
):
    common = ["--run", str(local[0] / "run"), "--competition", str(competition)]
    common += ["--out", str(tmp_path / "table.md"), "--set"]
    changes = ["recognition.tune=false", "recognition.whiten=null"]
    assert cli.main(["ablate", *common, *changes, "recognition.verification=null"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["without"] for row in rows] == [
        "nothing",
        "several neighbours",
        "the gallery's penalty (B)",
        "the query's penalty (C)",
        "both penalties",
    ]
    assert rows[0]["chosen"]["tune"] is False


@pytest.mark.parametrize("view", ["recognition.flip", "recognition.scales"])
def test_a_view_is_left_out_beside_the_changes(
    view, competition, tmp_path, monkeypatch, settings
):
    """The images are embedded again without the view, with all other changes."""
    asked = []

    class Evaluator:
        has_head = False
        n_parts = 1

        def __init__(self, settings):
            self.settings = settings

    def bundle_settings(runs, changes):
        asked.append(changes)
        return config.override(settings, changes)

    queries = Queries({name: [] for name in tables.SPLITS}, PoolCounts("none", OFF))
    monkeypatch.setattr(ablate, "bundle_settings", bundle_settings)
    monkeypatch.setattr(ablate, "subset_queries", lambda *_: queries)
    monkeypatch.setattr(ablate, "_open_evaluator", lambda *a: Evaluator(a[-1]))
    monkeypatch.setattr(ablate, "_score_row", lambda *_: {})
    monkeypatch.setattr(ablate, "format_table", lambda rows: "")
    changes = {"recognition.flip": True, "recognition.scales": [1.0, 1.4], "seed": 9}
    ablate.ablate([tmp_path], competition, tmp_path / "table.md", changes)
    assert asked[0] == changes
    without = {"recognition.flip": False, "recognition.scales": (1.0,)}
    assert changes | {view: without[view]} in asked[1:]
