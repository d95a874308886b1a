"""The kernel run as Kaggle would run it: offline, confined, and against the clock."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import psutil

from kaggle_kit.bundling.library import check_fit
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import ArtefactError, KitError, RehearsalError
from kaggle_kit.metrics.score import Score, score, validate
from kaggle_kit.progress import LOG_INTERVAL_S
from kaggle_kit.rehearsal import sandbox
from kaggle_kit.rehearsal.kaggle_image import hidden_packages
from kaggle_kit.storage.files import atomic_write, package_path, replaceable
from kaggle_kit.storage.json_files import write_json
from kaggle_kit.storage.manifest import upload_names, verify_upload

logger = logging.getLogger(__name__)
MARKER = "rehearsal.json"
RESAMPLES = 1000  # for the intervals of a score
TIME_LIMIT_S = 12 * 3600.0  # of the scoring run
MEMORY_GB = 29.0  # of a GPU kernel's host
POLL_S = 0.2
# What a kernel gets of the user's environment, by how it begins: where libraries are, and
# how those for linear algebra compute, which its last digits depend on.
KEPT = (
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "LANG"),
    *("OPENBLAS_", "OMP_", "MKL_", "TF_ENABLE_ONEDNN_OPTS"),
)
SLUG = "landmark-recognition-2021"
VISIBLE = ("train", "test", "train.csv", "sample_submission.csv")  # not the solution


def rehearse(
    bundle: Path,
    competition: Path,
    out: Path,
    time_limit_s: float = TIME_LIMIT_S,
    memory_gb: float = MEMORY_GB,
    kernel: Path | None = None,
    page: bool = True,
) -> dict[str, Any]:
    """Run a kernel as Kaggle's scoring run would, then check what it leaves.

    It sees the competition without its solution and the bundle below ``out/input``, is
    started in ``out/working``, may write only there (and to a temporary folder), has no
    network, and imports no package that Kaggle's image lacks. Time and memory (resident,
    with its children) are measured while it runs, and it is stopped at the limits. The
    kernel is told of its time, so that it can keep within it.

    Args:
        kernel: a folder with ``kernel-metadata.json``; the kit's inference kernel if None.
        page: with ``out/report.html``, where the competition has a solution.

    Returns:
        How the network was kept away ("namespace": the machine has none for it;
        "refusal": Python code is refused, other programs are not held), seconds, peak
        memory in GB, the submission's path and counts and, where the competition has a
        solution, its scores and the report. The same is in ``out/rehearsal.json``.

    Raises:
        RehearsalError: the kernel broke a rule, failed, or left no valid submission.
        DataError, ArtefactError: the folders are not what they should be, or kernel and
            bundle are of versions that do not fit.
    """
    place = Competition(Path(competition)).require(*VISIBLE)
    verify_upload(bundle)
    script = _script(Path(kernel or package_path("kernels") / "inference"))
    check_fit(Path(bundle), script)
    out = _lay_out(Path(out), place, Path(bundle))
    isolation = _isolation()
    result: dict[str, Any] = {"network": "namespace" if isolation else "refusal"}
    result |= _run(script, out, isolation, time_limit_s, memory_gb)
    try:
        ending = result.pop("reason")
        reason = _broken_rules(out) or ending
        if reason:
            raise RehearsalError(
                f"{script}: expected a kernel that Kaggle would run, but it {reason}; see "
                f"{out / 'log.txt'}"
            )
        submission = out / "working" / "submission.csv"
        result["submission"] = str(submission)
        result |= _checked(script, submission, place)
        if place.solution_csv.exists():
            scores = score(submission, place.solution_csv, RESAMPLES)
            result["score"] = scores.as_json()
            if page:
                result["report"] = _report(
                    bundle, submission, place, out, scores, result
                )
        return result
    except KitError as error:
        result["failed"] = str(error)
        raise
    finally:
        write_json(result, out / MARKER)


def _report(
    bundle: Path,
    submission: Path,
    place: Competition,
    out: Path,
    scores: Score,
    result: dict[str, Any],
) -> str | None:
    """Where the page of a rehearsal is; None where it cannot be made."""
    from kaggle_kit.report.page import report_if_possible  # matplotlib

    return report_if_possible(
        bundle,
        submission,
        place.solution_csv,
        out / "report.html",
        place.root,
        scores=scores,
        rehearsal=result,
    )


def _script(kernel: Path) -> Path:
    """The code file of a kernel folder, whose metadata keeps to the competition's rules."""
    path = kernel / "kernel-metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        script = kernel / metadata["code_file"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(
            f"{path}: expected a kernel's metadata with its code_file, got {error!r:.200}"
        ) from None
    if str(metadata.get("enable_internet")).lower() != "false":
        raise RehearsalError(
            f"{path}: expected enable_internet false, got "
            f"{metadata.get('enable_internet')}; the competition does not allow it"
        )
    if not script.is_file():
        raise ArtefactError(f"{script}: expected the kernel's code file, found none")
    return script.resolve()


def _lay_out(out: Path, place: Competition, bundle: Path) -> Path:
    """Make the folders that the kernel will see, as Kaggle mounts them.

    Of the bundle these are the files that get there, in folders that zip files make: none
    that is empty, and not what only the client reads.
    """
    if out.exists() and not replaceable(out, MARKER):
        raise ArtefactError(
            f"{out}: expected a new or empty folder or an earlier rehearsal, found other "
            f"files; choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / MARKER) as part:
        part.write_text('{"failed": "interrupted"}\n', encoding="utf-8")
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()
    out = out.resolve()
    competition = out / "input" / "competitions" / SLUG
    dataset = out / "input" / "datasets" / "owner" / "landmark-kit"
    for folder in (competition, dataset.parent, out / "working", out / "scratch"):
        folder.mkdir(parents=True)
    for name in VISIBLE:
        (competition / name).symlink_to((place.root / name).resolve())
    for name in upload_names(bundle):
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).symlink_to((bundle / name).resolve())
    return out


def _isolation() -> list[str]:
    """The command that gives a process its own network and mounts, if it is allowed."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("mount") is None:
        return []
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [unshare, *user, "--net", "--mount"]
    private = [*command, "mount", "--make-rprivate", "/"]
    done = subprocess.run(private, capture_output=True, check=False)
    return command if done.returncode == 0 else []


def _run(
    script: Path,
    out: Path,
    isolation: list[str],
    time_limit_s: float,
    memory_gb: float,
) -> dict[str, Any]:
    """Run the kernel to its end or to a limit; ``reason`` says what went wrong."""
    rules: dict[str, Any] = {
        "site": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}),
        "hidden": hidden_packages(),
        "writable": [str(out / "working"), str(out / "scratch"), "/dev"],
        "isolated": bool(isolation),
    }
    scratch = str(out / "scratch")
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": scratch,
        "TMPDIR": scratch,
        "KAGGLE_KIT_INPUT": str(out / "input"),
        "KAGGLE_KIT_TIME_LIMIT_S": repr(float(time_limit_s)),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }
    environment |= {k: v for k, v in os.environ.items() if k.startswith(KEPT)}
    logger.info(
        "rehearsal: %s, network kept away by %s", script.name, isolation or "refusal"
    )
    start = time.monotonic()
    log_path, report_path = out / "log.txt", out / "broken-rules.txt"
    with log_path.open("wb") as log, report_path.open("wb") as report:
        rules["report"] = report.fileno()
        python = [sys.executable, "-S", "-B", sandbox.__file__]
        process = subprocess.Popen(
            [*isolation, *python, json.dumps(rules), str(script)],
            pass_fds=[report.fileno()],
            cwd=out / "working",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            reason, peak_gb = _watch(process, start + time_limit_s, memory_gb)
        finally:
            _stop(process)
            shutil.rmtree(out / "scratch")
    seconds = time.monotonic() - start
    if reason == "time":
        reason = f"ran over its {time_limit_s:g} s"
    elif process.returncode and not reason:
        tail = log_path.read_text("utf-8", "replace").strip().splitlines()
        last = tail[-1] if tail else "nothing in its log"
        reason = f"ended with exit code {process.returncode}: {last[:300]}"
    return {"reason": reason, "seconds": round(seconds, 1), "peak_memory_gb": peak_gb}


def _watch(
    process: subprocess.Popen, deadline: float, memory_gb: float
) -> tuple[str, float]:
    """Wait for the end or a limit; return what was exceeded and the peak memory."""
    peak, start = 0.0, time.monotonic()
    said = start
    while process.poll() is None:
        used = _memory_gb(process.pid)
        peak = max(peak, used)
        if peak > memory_gb:
            return f"took {peak:.2f} GB of memory, over its {memory_gb:g} GB", peak
        if time.monotonic() > deadline:
            return "time", round(peak, 2)
        if time.monotonic() - said > LOG_INTERVAL_S:
            said = time.monotonic()
            left = deadline - said
            logger.info(
                "rehearsal: %.0f s, %.0f s left, %.1f GB", said - start, left, used
            )
        time.sleep(POLL_S)
    return "", round(peak, 2)


def _memory_gb(pid: int) -> float:
    """Resident memory of a process and all that it started."""
    total = 0
    try:
        parent = psutil.Process(pid)
        processes = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # it ended since it was listed
            continue
    return total / 1e9


def _stop(process: subprocess.Popen) -> None:
    """End the kernel and whatever it left running."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _broken_rules(out: Path) -> str:
    lines = (out / "broken-rules.txt").read_text("utf-8").splitlines()
    more = f" (and {len(set(lines)) - 1} more)" if len(set(lines)) > 1 else ""
    return f"{lines[0]}{more}" if lines else ""


def _checked(script: Path, submission: Path, place: Competition) -> dict[str, Any]:
    if not submission.is_file():
        raise RehearsalError(
            f"{script}: expected the kernel to leave submission.csv in its working "
            f"folder, found none"
        )
    return validate(submission, place.sample_csv).as_json()
