"""Look: at submissions, at photos, at the page that recognises them, at settings."""

import argparse
from dataclasses import asdict
from pathlib import Path

from kaggle_kit.commands.checks import require, require_bundle
from kaggle_kit.commands.group import Group, Result, argument
from kaggle_kit.commands.options import (
    BUNDLE,
    COMPETITION,
    CONFIG,
    OUT,
    PHOTO,
    SET,
    count,
    path,
    settings,
)
from kaggle_kit.errors import KitError

LOOKING = Group("Look")


@LOOKING.command(
    argument("submission", type=Path, metavar="SUBMISSION", help="id, landmarks"),
    path("--sample", "the competition's sample_submission.csv"),
    example="""kaggle-kit validate submission.csv \\
      --sample demo/competition/sample_submission.csv""",
)
def validate(args: argparse.Namespace) -> Result:
    """Check that Kaggle would accept a submission."""
    from kaggle_kit.metrics.score import validate

    return validate(args.submission, args.sample)


@LOOKING.command(
    argument("submission", type=Path, metavar="SUBMISSION", help="id, landmarks"),
    argument("solution", type=Path, metavar="SOLUTION", help="id, landmarks, Usage"),
    argument("--intervals", action="store_true", help="with 95%% bootstrap intervals"),
    example="kaggle-kit score submission.csv demo/competition/solution.csv --intervals",
)
def score(args: argparse.Namespace) -> Result:
    """Score a submission by GAP, and say what the rest was lost to."""
    from kaggle_kit.metrics.score import score

    return score(args.submission, args.solution, 1000 if args.intervals else 0)


@LOOKING.command(
    path("--run", "a folder that 'train', 'run' or 'bundle' made"),
    path("--submission", "a submission.csv"),
    path("--solution", "the solution.csv to score it by"),
    COMPETITION.but(required=False, help="where the photos are, to show"),
    BUNDLE.but(
        required=False, help="whose gallery photos to show (the run's, if it has one)"
    ),
    path(
        "--against",
        "other runs to compare with: folders with config.json and submission.csv",
        required=False,
        nargs="+",
        action="extend",
        default=[],
        metavar="OTHER_RUN",
    ),
    OUT,
    example="""kaggle-kit report --run demo --submission demo/submission.csv \\
      --solution demo/competition/solution.csv \\
      --competition demo/competition --out report.html""",
)
def report(args: argparse.Namespace) -> Result:
    """Write a page on what a submission is worth and what it lost."""
    from kaggle_kit.report.page import report

    return report(
        args.run,
        args.submission,
        args.solution,
        args.out,
        args.competition,
        args.bundle,
        args.against,
    )


@LOOKING.command(
    PHOTO,
    BUNDLE,
    argument("-k", type=count, default=5, metavar="K", help="how many (5)"),
    example="kaggle-kit similar photo.jpg --bundle bundle -k 3",
)
def similar(args: argparse.Namespace) -> Result:
    """Find the gallery photos that are most like a photo."""
    require_bundle(args.bundle)
    if not args.photo.is_file():
        raise KitError(f"{args.photo}: expected a photo, found no file; check the path")
    from kaggle_kit.inference.recogniser import Recogniser

    with Recogniser.load(args.bundle, geometry_optional=True) as recogniser:
        nearest = recogniser.similar(args.photo, args.k)
    similar = [
        {
            "id": image.image_id,
            "landmark_id": image.landmark,
            "name": image.name,
            "similarity": round(image.similarity, 4),
        }
        for image in nearest
    ]
    return {"photo": str(args.photo), "similar": similar}


@LOOKING.command(
    PHOTO,
    argument("other", type=Path, metavar="OTHER", help="another photo"),
    OUT,
    example="kaggle-kit match photo.jpg other.jpg --out matched.png",
)
def match(args: argparse.Namespace) -> Result:
    """Draw which points of two photos match."""
    from kaggle_kit.report.matches import match

    return match(args.photo, args.other, args.out)


@LOOKING.command(
    BUNDLE,
    argument("--port", type=count, metavar="P", help="of the page's address (8501)"),
    path(
        "--photos",
        "a folder in the competition's layout, to show the gallery's photos",
        required=False,
    ),
    path(
        "--export",
        "write a folder for a host of Streamlit pages instead",
        required=False,
    ),
    example="kaggle-kit app --bundle demo/bundle --photos demo/competition",
)
def app(args: argparse.Namespace) -> Result:
    """Show a page that recognises photos, or export it to be deployed."""
    require_bundle(args.bundle)
    require(args.bundle / "gallery", "a bundle with a gallery", "bundle")
    if args.export:
        from kaggle_kit.app.export import export

        return asdict(export(args.bundle, args.export, args.photos))
    from kaggle_kit.app.serve import PORT, serve

    return asdict(serve(args.bundle, args.port or PORT, args.photos))


@LOOKING.command(
    argument(
        "config",
        type=Path,
        metavar="CONFIG",
        help=CONFIG.options["help"],
    ),
    SET,
    example="kaggle-kit config show demo.yaml --set train.epochs=3",
)
def config_show(args: argparse.Namespace) -> Result:
    """Print all settings of a config, as YAML that --config reads back."""
    asked = settings(args)
    import yaml

    return yaml.safe_dump(asked.model_dump(mode="json"), sort_keys=False).rstrip()


@LOOKING.command(
    argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a setting or a section, such as train.epochs or train (all there are)",
    ),
    example="kaggle-kit config explain train.epochs",
)
def config_explain(args: argparse.Namespace) -> Result:
    """Say what a setting means, what it may be, and what it is unless it is set."""
    from kaggle_kit.config.explain import explain

    return explain(args.name)
