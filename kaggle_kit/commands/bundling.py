"""Bundle: pack what recognises photos, measure its parts, and run it as Kaggle would."""

import argparse
from dataclasses import asdict
from typing import Any

from kaggle_kit.commands.checks import require_bundle, require_runs
from kaggle_kit.commands.group import Group, Result, argument
from kaggle_kit.commands.options import (
    BUNDLE,
    COMPETITION,
    CONFIG,
    HANDLE,
    KERNEL,
    OUT,
    RUNS,
    SET,
    TIME_LIMIT_S,
    changes,
    count,
    settings,
)
from kaggle_kit.errors import KitError

BUNDLING = Group("Bundle")


@BUNDLING.command(
    RUNS.but(required=False, default=[]),
    COMPETITION.but(required=False),
    CONFIG.but(required=False),
    OUT,
    SET,
    HANDLE,
    argument("--title", metavar="TEXT", help="its title (the slug in words)"),
    argument(
        "--max-mb", type=count, metavar="N", help="make no bundle of more megabytes"
    ),
    example="kaggle-kit bundle --run runs/demo --competition demo/competition "
    "--out bundle",
)
def bundle(args: argparse.Namespace) -> Result:
    """Pack library, model and gallery into the folder that becomes a Kaggle dataset."""
    if bool(args.run) == bool(args.config):
        raise KitError(
            "expected either --run (a model for the inference kernel) or --config (for "
            "training on Kaggle); give one of them"
        )
    if bool(args.run) != bool(args.competition):
        raise KitError("expected --competition with --run and not with --config")
    require_runs(args.run)
    from kaggle_kit.bundling import metadata

    asked = settings(args) if args.config else None
    changed = {} if args.config else _changes(args)
    handle = args.handle or metadata.HANDLE
    title = metadata.title_of(handle, args.title)
    if asked:
        from kaggle_kit.bundling.training_bundle import build_training_bundle

        sizes = build_training_bundle(asked, args.out, handle, title, args.max_mb)
        return sizes.as_json()
    from kaggle_kit.bundling.build import build_bundle

    return build_bundle(
        args.run, args.competition, args.out, changed, handle, title, args.max_mb
    ).as_json()


@BUNDLING.command(
    RUNS,
    COMPETITION,
    OUT,
    SET,
    example="kaggle-kit ablate --run runs/demo --competition demo/competition "
    "--out ablation.md",
)
def ablate(args: argparse.Namespace) -> Result:
    """Switch off one part after the other, and score what is left."""
    require_runs(args.run)
    changed = _changes(args)
    from kaggle_kit.bundling.ablate import ablate

    return ablate(args.run, args.competition, args.out, changed).as_json()


@BUNDLING.command(
    BUNDLE,
    COMPETITION,
    OUT,
    TIME_LIMIT_S,
    example="""kaggle-kit predict --bundle bundle --competition demo/competition \\
      --out submission.csv""",
)
def predict(args: argparse.Namespace) -> Result:
    """Write a submission for a competition's test photos."""
    require_bundle(args.bundle)
    from kaggle_kit.inference.predict import predict

    prediction = predict(args.bundle, args.competition, args.out, args.time_limit_s)
    return asdict(prediction)


@BUNDLING.command(
    BUNDLE,
    COMPETITION,
    OUT,
    TIME_LIMIT_S,
    argument("--memory-gb", type=float, help="stop the kernel above it (29)"),
    KERNEL,
    example="""kaggle-kit rehearse --bundle bundle --competition demo/competition \\
      --out rehearsal --time-limit-s 600""",
)
def rehearse(args: argparse.Namespace) -> Result:
    """Run the kernel as Kaggle would: offline, confined, against the clock."""
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


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """The changes asked for, once it is clear that the first run's config takes them."""
    from kaggle_kit.config import override, read_json

    changed = changes(args)
    override(read_json(args.run[0] / "config.json"), changed)
    return changed
