"""Commands about bundles: make one, measure its parts, and run it like Kaggle."""

import argparse
from typing import TYPE_CHECKING, Any

from kaggle_kit.commands.checks import require_bundle, require_runs
from kaggle_kit.commands.group import Group, Result, argument
from kaggle_kit.commands.options import (
    BUNDLE,
    COMPETITION,
    CONFIG,
    HANDLE,
    KERNEL,
    NON_LANDMARKS,
    OUT_FILE,
    OUT_FOLDER,
    RUNS,
    SET,
    TIME_LIMIT_S,
    UNTRUSTED,
    count,
    load_settings,
    parse_changes,
    positive_number,
)
from kaggle_kit.errors import KitError

if TYPE_CHECKING:
    from kaggle_kit.config import Config

BUNDLING = Group("Bundle")


@BUNDLING.command(
    RUNS.but(required=False, default=[]),
    COMPETITION.but(required=False),
    CONFIG.but(required=False),
    NON_LANDMARKS,
    OUT_FOLDER,
    SET,
    HANDLE,
    argument("--title", metavar="TEXT", help="its title (made from the slug)"),
    argument("--max-mb", type=count, metavar="N", help="fail if the bundle is larger"),
    example="kaggle-kit bundle --run runs/demo --competition demo/competition "
    "--out bundle",
)
def bundle(args: argparse.Namespace) -> Result:
    """Pack library, model and gallery into a folder to publish as a Kaggle dataset."""
    if bool(args.run) == bool(args.config):
        raise KitError(
            f"--run: expected either this (a model for the inference kernel) or --config "
            f"(for training on Kaggle), got {'both' if args.config else 'neither'}; give "
            f"one of them"
        )
    if bool(args.run) != bool(args.competition):
        got = "no --competition" if args.run else "--competition without --run"
        raise KitError(
            f"--competition: expected --competition with --run, and without it none, got "
            f"{got}; correct the command"
        )
    require_runs(args.run)
    from kaggle_kit.bundling import metadata

    settings = _training_settings(args) if args.config else None
    changes = {} if args.config else _checked_changes(args)
    handle = args.handle or metadata.HANDLE
    title = metadata.make_title(handle, args.title)
    if settings:
        from kaggle_kit.bundling.training_bundle import build_training_bundle

        return build_training_bundle(settings, args.out, handle, title, args.max_mb)
    from kaggle_kit.bundling.build import build_bundle

    return build_bundle(
        args.run,
        args.competition,
        args.out,
        changes,
        handle,
        title,
        args.max_mb,
        args.non_landmarks,
    )


@BUNDLING.command(
    RUNS,
    COMPETITION,
    NON_LANDMARKS,
    OUT_FILE,
    SET,
    example="kaggle-kit ablate --run runs/demo --competition demo/competition "
    "--out ablation.md",
)
def ablate(args: argparse.Namespace) -> Result:
    """Switch off each part of the recognition in turn, and score the rest."""
    require_runs(args.run)
    changes = _checked_changes(args)
    from kaggle_kit.bundling.ablate import ablate

    return ablate(args.run, args.competition, args.out, changes, args.non_landmarks)


@BUNDLING.command(
    BUNDLE,
    COMPETITION,
    OUT_FILE,
    TIME_LIMIT_S,
    UNTRUSTED,
    example="""kaggle-kit predict --bundle bundle --competition demo/competition \\
      --out submission.csv""",
)
def predict(args: argparse.Namespace) -> Result:
    """Write a submission for a competition's test images."""
    require_bundle(args.bundle)
    from kaggle_kit.data.layout import Competition

    Competition(args.competition).require("sample_submission.csv", "train.csv", "test")
    from kaggle_kit.inference.predict import predict

    result = predict(
        args.bundle,
        args.competition,
        args.out,
        args.time_limit_s,
        untrusted=args.untrusted,
    )
    if result.unreadable == result.images:
        raise KitError(
            f"{args.competition / 'test'}: expected test images that decode, got none of "
            f"{result.images}; {args.out} is valid, but has no guess: check --competition"
        )
    return result


@BUNDLING.command(
    BUNDLE,
    COMPETITION,
    OUT_FOLDER,
    TIME_LIMIT_S,
    argument("--memory-gb", type=positive_number, help="memory limit in GB (29)"),
    KERNEL,
    example="""kaggle-kit rehearse --bundle bundle --competition demo/competition \\
      --out rehearsal --time-limit-s 600""",
)
def rehearse(args: argparse.Namespace) -> Result:
    """Run the kernel under Kaggle's conditions: offline, confined, with limits."""
    require_bundle(args.bundle)
    from kaggle_kit.rehearsal import rehearse

    return rehearse.rehearse(
        args.bundle,
        args.competition,
        args.out,
        rehearse.TIME_LIMIT_S if args.time_limit_s is None else args.time_limit_s,
        rehearse.MEMORY_GB if args.memory_gb is None else args.memory_gb,
        args.kernel,
    )


def _training_settings(args: argparse.Namespace) -> "Config":
    """The config of ``--config``; the weights of a run's record are those of its folder.

    A bundle has a copy of the file that ``model.weights`` names. A ``config.json`` was
    written by a command, perhaps for somebody else: it may name a file of its own folder
    alone. ``--set model.weights=PATH`` names any file.
    """
    settings = load_settings(args)
    weights = settings.model.weights
    is_record = args.config.suffix == ".json" and "model.weights" not in parse_changes(
        args
    )
    if not is_record or weights in (None, "imagenet"):
        return settings
    from kaggle_kit.config import override
    from kaggle_kit.storage.inside import resolve_inside

    path = resolve_inside(args.config.parent, weights)
    return override(settings, {"model.weights": str(path)})


def _checked_changes(args: argparse.Namespace) -> dict[str, Any]:
    """The changes of ``--set``, after they were applied to the first run's config."""
    from kaggle_kit.config import override, read_json

    changes = parse_changes(args)
    override(read_json(args.run[0] / "config.json"), changes)
    return changes
