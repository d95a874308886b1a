"""Commands that inspect submissions, images and settings, and the app."""

import argparse

from kaggle_kit.commands.checks import require, require_bundle
from kaggle_kit.commands.group import Group, Output, Result, argument
from kaggle_kit.commands.options import (
    BUNDLE,
    COMPETITION,
    CONFIG,
    OUT_FILE,
    PHOTO,
    RUN_FILES,
    SET,
    UNTRUSTED,
    count,
    load_settings,
    path,
    port,
)
from kaggle_kit.errors import KitError

INSPECTION = Group("Inspect")


@INSPECTION.command(
    path("submission", "id, landmarks", metavar="SUBMISSION"),
    path("--sample", "the competition's sample_submission.csv"),
    example="""kaggle-kit validate submission.csv \\
      --sample demo/competition/sample_submission.csv""",
)
def validate(args: argparse.Namespace) -> Result:
    """Check that Kaggle would accept a submission."""
    from kaggle_kit.metrics.score import validate

    return validate(args.submission, args.sample)


@INSPECTION.command(
    path("submission", "id, landmarks", metavar="SUBMISSION"),
    path("solution", "id, landmarks, Usage", metavar="SOLUTION"),
    argument("--intervals", action="store_true", help="add 95%% bootstrap intervals"),
    BUNDLE.but(
        required=False,
        help="the bundle that guessed, to list landmarks that it does not hold as a "
        "cause of their own",
    ),
    example="kaggle-kit score submission.csv demo/competition/solution.csv --intervals",
)
def score(args: argparse.Namespace) -> Result:
    """Score a submission by GAP, and list how much each cause lost."""
    if args.bundle:
        require(args.bundle / "gallery", "a bundle with a gallery", "bundle")
    from kaggle_kit.metrics.score import score

    n_resamples = 1000 if args.intervals else 0
    return score(args.submission, args.solution, n_resamples, bundle=args.bundle)


@INSPECTION.command(
    path("--run", "a folder made by 'train', 'run' or 'bundle'", RUN_FILES),
    path("--submission", "a submission.csv"),
    path("--solution", "the solution.csv to score it with"),
    COMPETITION.but(required=False, help="the competition's folder, to show images"),
    BUNDLE.but(
        required=False, help="the bundle whose gallery images to show (the run's own)"
    ),
    path(
        "--against",
        "runs to compare with: folders with config.json and submission.csv",
        RUN_FILES,
        required=False,
        nargs="+",
        action="extend",
        default=[],
        metavar="OTHER_RUN",
    ),
    OUT_FILE,
    example="""kaggle-kit report --run demo --submission demo/submission.csv \\
      --solution demo/competition/solution.csv \\
      --competition demo/competition --out report.html""",
)
def report(args: argparse.Namespace) -> Result:
    """Write a page with a submission's score and its mistakes."""
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


@INSPECTION.command(
    PHOTO,
    BUNDLE,
    argument("-k", type=count, default=5, metavar="K", help="number of images (5)"),
    UNTRUSTED,
    example="kaggle-kit similar image.jpg --bundle bundle -k 3",
)
def similar(args: argparse.Namespace) -> Result:
    """Find the gallery images most similar to an image."""
    require_bundle(args.bundle)
    if not args.photo.is_file():
        raise KitError(
            f"{args.photo}: expected an image, found no file; check the path"
        )
    from kaggle_kit.inference.recogniser import Recogniser

    with Recogniser.load(
        args.bundle, geometry_optional=True, untrusted=args.untrusted
    ) as recogniser:
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


@INSPECTION.command(
    PHOTO,
    path("other", "another image", metavar="OTHER"),
    OUT_FILE,
    example="kaggle-kit match image.jpg other.jpg --out matched.png",
)
def match(args: argparse.Namespace) -> Result:
    """Draw the matching points of two images."""
    from kaggle_kit.report.matches import match

    return match(args.photo, args.other, args.out)


@INSPECTION.command(
    BUNDLE,
    argument("--port", type=port, metavar="P", help="the port of the page (8501)"),
    path(
        "--photos",
        "a folder in the competition's layout, with the gallery's images",
        required=False,
    ),
    path(
        "--export",
        "write a folder for a Streamlit host, instead of serving",
        Output("folder"),
        required=False,
    ),
    example="kaggle-kit app --bundle demo/bundle --photos demo/competition",
)
def app(args: argparse.Namespace) -> Result:
    """Serve a web page that recognises images, or export it for deployment."""
    require_bundle(args.bundle)
    require(args.bundle / "gallery", "a bundle with a gallery", "bundle")
    if args.export:
        from kaggle_kit.app.export import export

        return export(args.bundle, args.export, args.photos)
    from kaggle_kit.app.serve import PORT, serve

    return serve(args.bundle, args.port or PORT, args.photos)


@INSPECTION.command(
    path("config", CONFIG.options["help"], metavar="CONFIG"),
    SET,
    example="kaggle-kit config show demo.yaml --set train.epochs=3",
)
def config_show(args: argparse.Namespace) -> Result:
    """Print all settings of a config, as YAML that --config reads."""
    settings = load_settings(args)
    import yaml

    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).rstrip()


@INSPECTION.command(
    argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a setting or a section, such as train.epochs or train (all settings)",
    ),
    example="kaggle-kit config explain train.epochs",
)
def config_explain(args: argparse.Namespace) -> Result:
    """Explain a setting: its meaning, its range and its default."""
    from kaggle_kit.config.explain import explain

    return explain(args.name)
