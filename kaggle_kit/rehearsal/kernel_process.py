"""The process of a kernel in rehearsal: isolated, watched, and stopped at its limits."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from kaggle_kit.credentials import redact_file
from kaggle_kit.progress import LOG_INTERVAL_S
from kaggle_kit.rehearsal import sandbox
from kaggle_kit.rehearsal.kaggle_image import missing_packages

logger = logging.getLogger(__name__)
POLL_S = 0.2
# Prefixes of the environment variables that the kernel inherits: library paths, and
# settings of linear algebra libraries, which affect the last digits of results.
INHERITED = (
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "LANG"),
    *("OPENBLAS_", "OMP_", "MKL_", "TF_ENABLE_ONEDNN_OPTS"),
)


@dataclass(frozen=True, slots=True)
class KernelProcess:
    """How the process of a kernel ended."""

    failure: str  # a broken rule, an exceeded limit or its exit code; empty if none
    seconds: float
    peak_memory_gb: float


def isolation_command() -> list[str]:
    """The command that runs a process in its own network and mount namespaces.

    Empty if the machine does not allow namespaces.
    """
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("mount") is None:
        return []
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [unshare, *user, "--net", "--mount"]
    trial = [*command, "mount", "--make-rprivate", "/"]
    done = subprocess.run(trial, capture_output=True, check=False)
    return command if done.returncode == 0 else []


def run_kernel(
    script: Path,
    out: Path,
    isolation: list[str],
    time_limit_s: float,
    memory_gb: float,
) -> KernelProcess:
    """Run a kernel until it ends or exceeds a limit.

    Args:
        out: the folder with ``input``, ``working`` and ``scratch``; it gets the kernel's
            ``log.txt``, and ``scratch`` is deleted.
        isolation: what ``isolation_command`` returned.
        memory_gb: the limit of resident memory, including child processes.
    """
    rules: dict[str, Any] = {
        "site": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}),
        "hidden": missing_packages(),
        "writable": [str(out / "working"), str(out / "scratch"), "/dev"],
        "isolated": bool(isolation),
    }
    logger.info("rehearsal: %s, network: %s", script.name, isolation or "refusal")
    start = time.monotonic()
    log_path, report_path = out / "log.txt", out / "broken-rules.txt"
    with log_path.open("wb") as log, report_path.open("wb") as report:
        rules["report"] = report.fileno()
        python = [sys.executable, "-S", "-B", sandbox.__file__]
        process = subprocess.Popen(
            [*isolation, *python, json.dumps(rules), str(script)],
            pass_fds=[report.fileno()],
            cwd=out / "working",
            env=_environment(out, time_limit_s),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            failure, peak_gb = _watch(process, start, time_limit_s, memory_gb)
        finally:
            _stop(process)
            shutil.rmtree(out / "scratch")
    for path in (log_path, report_path):
        redact_file(path)
    seconds = round(time.monotonic() - start, 1)
    if process.returncode and not failure:
        lines = log_path.read_text("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else "an empty log"
        failure = f"ended with exit code {process.returncode}: {last[:300]}"
    return KernelProcess(_broken_rules(report_path) or failure, seconds, peak_gb)


def _environment(out: Path, time_limit_s: float) -> dict[str, str]:
    """The environment variables of the kernel."""
    scratch = str(out / "scratch")
    inherited = {k: v for k, v in os.environ.items() if k.startswith(INHERITED)}
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": scratch,
        "TMPDIR": scratch,
        "KAGGLE_KIT_INPUT": str(out / "input"),
        "KAGGLE_KIT_TIME_LIMIT_S": repr(float(time_limit_s)),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    } | inherited


def _watch(
    process: subprocess.Popen, start: float, time_limit_s: float, memory_gb: float
) -> tuple[str, float]:
    """Wait until the process ends or exceeds a limit.

    Returns:
        Which limit was exceeded (empty if none), and the peak memory in GB.
    """
    peak, last_log = 0.0, start
    while process.poll() is None:
        used = _memory_gb(process.pid)
        peak = max(peak, used)
        if peak > memory_gb:
            return f"took {peak:.2f} GB of memory, over its {memory_gb:g} GB", peak
        now = time.monotonic()
        left = start + time_limit_s - now
        if left < 0:
            return f"ran over its {time_limit_s:g} s", round(peak, 2)
        if now - last_log > LOG_INTERVAL_S:
            last_log = now
            logger.info(
                "rehearsal: %.0f s, %.0f s left, %.1f GB", now - start, left, used
            )
        time.sleep(POLL_S)
    return "", round(peak, 2)


def _memory_gb(pid: int) -> float:
    """Resident memory of a process and its descendants."""
    total = 0
    try:
        parent = psutil.Process(pid)
        processes = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # it has ended meanwhile
            continue
    return total / 1e9


def _stop(process: subprocess.Popen) -> None:
    """Kill the kernel and all processes that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _broken_rules(report: Path) -> str:
    """The first rule that the kernel broke, and how many others; empty if none."""
    lines = report.read_text("utf-8").splitlines()
    n_others = len(set(lines)) - 1
    return f"{lines[0]} (and {n_others} more)" if n_others > 0 else "".join(lines[:1])
