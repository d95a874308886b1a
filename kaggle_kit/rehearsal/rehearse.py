"""Run the kernel under Kaggle's conditions: offline, confined, with time and memory limits."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from kaggle_kit.bundling.library import check_fit
from kaggle_kit.credentials import redact
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import KitError, RehearsalError
from kaggle_kit.limits import require_limit
from kaggle_kit.metrics.score import Score, Validation, score, validate
from kaggle_kit.rehearsal.kernel_folder import (
    find_code_file,
    find_kernel,
    read_kernel_metadata,
)
from kaggle_kit.rehearsal.kernel_process import isolation_command, run_kernel
from kaggle_kit.rehearsal.kernel_sources import (
    fill_in,
    make_sources,
    require_one_competition,
)
from kaggle_kit.storage import places
from kaggle_kit.storage.folders import FolderKind, list_files
from kaggle_kit.storage.json_files import (
    INLINE,
    OPTIONAL,
    read_json,
    to_json,
    write_json,
)
from kaggle_kit.storage.manifest import (
    MANIFEST,
    describe_file,
    upload_names,
    verify_upload,
)

RESULT, RECORD = "rehearsal.json", "rehearsal.files.json"
FOLDERS = ("input", "working", "kernel", "scratch")
SUBMISSION = Path("working", "submission.csv")
RESAMPLES = 1000  # for the bootstrap intervals of the score
TIME_LIMIT_S = 12 * 3600.0  # of Kaggle's scoring run
MEMORY_GB = 29.0  # of Kaggle's GPU machines
SLUG = "landmark-recognition-2021"
VISIBLE = ("train", "test", "train.csv", "sample_submission.csv")  # not the solution


def _read_record(folder: Path) -> list[str]:
    """The files that an earlier rehearsal left; before it ended, all with its names."""
    if (folder / RECORD).exists():
        return [*read_json(folder / RECORD), RECORD]
    return [name for name in list_files(folder) if REHEARSAL.has_name(name)]


REHEARSAL = FolderKind(
    RESULT,
    (
        *(f"{name}/*" for name in FOLDERS),
        *("log.txt", "broken-rules.txt", "report.html", RECORD),
    ),
    _read_record,
)


@dataclass(frozen=True, slots=True)
class ReportPath:
    """The path of the report; None if the report could not be made."""

    report: str | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The result of a rehearsal; saved as ``rehearsal.json``, also after a failure.

    Attributes:
        network: how network access is blocked. "namespace": the kernel has a network
            namespace without any network. "refusal": Python code is refused, but other
            programs are not restricted.
        peak_memory_gb: resident memory of the kernel and its child processes.
        submission: the path of the submission.
        counts: what ``validate`` returns for it.
        score: what ``score`` returns for it, if the competition has a solution.
        failed: why the rehearsal failed.
    """

    network: str
    seconds: float
    peak_memory_gb: float
    submission: str | None = field(default=None, metadata=OPTIONAL)
    counts: Validation | None = field(default=None, metadata=INLINE)
    score: Score | None = field(default=None, metadata=OPTIONAL)
    page: ReportPath | None = field(default=None, metadata=INLINE)
    failed: str | None = field(default=None, metadata=OPTIONAL)


def rehearse(
    bundle: Path,
    competition: Path,
    out: Path,
    time_limit_s: float = TIME_LIMIT_S,
    memory_gb: float = MEMORY_GB,
    kernel: Path | None = None,
    page: bool = True,
) -> Rehearsal:
    """Run a kernel like Kaggle's scoring run, and validate its submission.

    The kernel runs in ``out/working``. It sees the bundle, and the competition without
    its solution, in ``out/input``. It is the copy in ``out/kernel``, which is told its
    sources as a pushed kernel is. It can write only to its working folder and to a
    temporary folder. It has no network, and cannot import packages that Kaggle's image
    lacks. It is told its time limit. It is stopped when it exceeds a limit.

    Args:
        out: a new or empty folder, or one with an earlier rehearsal, which is replaced.
        kernel: a folder with ``kernel-metadata.json``; None means the kit's inference
            kernel.
        page: also write ``out/report.html``, if the competition has a solution.

    Raises:
        RehearsalError: the kernel broke a rule, failed, or left no submission.
        TableError: the submission is not valid.
        DataError, ArtefactError: a folder is unusable, the kernel does not work with the
            bundle, or several competitions could be meant.
        KitError: a limit is not a finite number above 0.
    """
    require_limit("time_limit_s", time_limit_s, "seconds")
    require_limit("memory_gb", memory_gb, "GB")
    layout = Competition(Path(competition)).require(*VISIBLE)
    verify_upload(bundle)
    kernel = find_kernel(Path(kernel) if kernel else None)
    metadata = read_kernel_metadata(kernel)
    script = find_code_file(kernel, metadata).resolve()
    check_fit(Path(bundle), script)
    require_one_competition(kernel, metadata)
    slug = (metadata.competition_sources or [SLUG])[0]
    digest = describe_file(Path(bundle) / MANIFEST).sha256
    code = fill_in(script, make_sources(metadata, slug, digest))
    out = _lay_out(Path(out), layout, Path(bundle), slug)
    copy = out / "kernel" / script.name
    copy.parent.mkdir()
    copy.write_bytes(code)
    isolation = isolation_command()
    process = run_kernel(copy, out, isolation, time_limit_s, memory_gb)
    network = "namespace" if isolation else "refusal"
    result = Rehearsal(network, process.seconds, process.peak_memory_gb)
    submission = out / SUBMISSION
    try:
        if process.failure:
            raise RehearsalError(
                f"{script}: expected a kernel that Kaggle would run, but it "
                f"{process.failure}; see {out / 'log.txt'}"
            )
        result = replace(result, submission=str(submission))
        result = replace(result, counts=_validate(script, submission, layout))
        if layout.solution_csv.exists():
            solution = layout.solution_csv
            scores = score(submission, solution, RESAMPLES, bundle=bundle)
            result = replace(result, score=scores)
            if page:
                result = replace(
                    result, page=_write_report(bundle, layout, out, result)
                )
        return result
    except KitError as error:
        result = replace(result, failed=redact(str(error)))
        raise
    finally:
        names = [name for name in list_files(out) if REHEARSAL.has_name(name)]
        write_json(names, out / RECORD)
        write_json(result, out / RESULT)


def _write_report(
    bundle: Path, layout: Competition, out: Path, rehearsal: Rehearsal
) -> ReportPath:
    from kaggle_kit.report.page import report_if_possible  # imports matplotlib

    path = report_if_possible(
        bundle,
        out / SUBMISSION,
        layout.solution_csv,
        out / "report.html",
        layout.root,
        scores=rehearsal.score,
        rehearsal=to_json(rehearsal),
    )
    return ReportPath(path)


def _lay_out(out: Path, layout: Competition, bundle: Path, slug: str = SLUG) -> Path:
    """Create the folders that the kernel will see, as Kaggle mounts them.

    The bundle appears as it would after the upload: without empty folders, and without
    the files that only the client reads.
    """
    out = places.check_folder(out)
    REHEARSAL.check(out)
    own = REHEARSAL.list_own(out) if out.exists() else set()
    out.mkdir(parents=True, exist_ok=True)
    write_json({"failed": "interrupted"}, out / RESULT)
    (out / RECORD).unlink(missing_ok=True)  # what the kernel leaves is not known yet
    for name in own - {RESULT, RECORD}:
        (out / name).unlink()
    for name in FOLDERS:  # in which nothing else is
        if (out / name).exists():
            shutil.rmtree(out / name)
    competition = out / "input" / "competitions" / slug
    dataset = out / "input" / "datasets" / "owner" / "landmark-kit"
    for folder in (competition, dataset.parent, out / "working", out / "scratch"):
        folder.mkdir(parents=True)
    for name in VISIBLE:
        (competition / name).symlink_to((layout.root / name).resolve())
    for name in upload_names(bundle):
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).symlink_to((bundle / name).resolve())
    return out


def _validate(script: Path, submission: Path, layout: Competition) -> Validation:
    """Validate the submission of a kernel; return what ``validate`` returns."""
    if not submission.is_file():
        raise RehearsalError(
            f"{script}: expected the kernel to write submission.csv to its working "
            f"folder, found none; see {submission.parents[1] / 'log.txt'}"
        )
    return validate(submission, layout.sample_csv)
