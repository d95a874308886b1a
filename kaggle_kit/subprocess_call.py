"""Run a function in a new process, so that its memory is freed when it returns."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from kaggle_kit.errors import KitError
from kaggle_kit.log import set_up_logging

MAIN = "from kaggle_kit.subprocess_call import work; work()"
END_TIMEOUT_S = 30.0  # after an interruption, until its process is ended


def run_in_subprocess(stage: Callable[..., Any], *args: Any) -> Any:
    """Call a module-level function in a new process and return its result.

    TensorFlow frees the memory of a training only when its process ends. Without this,
    the next stage would need its memory on top of that. The process imports the function's
    module alone. It does not run the user's script again, as one of ``multiprocessing``
    would, so that script needs no ``if __name__ == "__main__"``.

    Raises:
        KitError: the process was killed or ended early. Errors of the function itself are
            raised as they are.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; {MAIN}"
    job = pickle.dumps((logging.getLogger().level, stage, args))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            answer = _exchange(process, job)
        except BaseException:  # interrupted; from a terminal the process is as well
            _end(process)
            raise
        process.wait()
    if not answer:
        raise KitError(
            f"stage {stage.__name__}: expected its process to finish, got one that "
            f"{_describe_end(process.returncode)}; then run the same command again"
        )
    succeeded, result = pickle.loads(answer)
    if not succeeded:
        raise result
    return result


def _exchange(process: subprocess.Popen[bytes], job: bytes) -> bytes:
    """Send the job and wait for the answer; empty if the process ends without one."""
    assert process.stdin and process.stdout
    try:
        process.stdin.write(job)
        process.stdin.flush()  # it stays open: its end is that of this process
    except BrokenPipeError:  # it ended before it had read the job
        pass
    return process.stdout.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _describe_end(code: int) -> str:
    """What happened to a process that gave no answer, and what to do."""
    if code == -signal.SIGKILL:
        return (
            "was killed, probably for lack of memory; free memory or lower "
            "train.batch_size in the config"
        )
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}; see the lines above"
    return f"ended with exit code {code}; see the lines above"


def work() -> None:
    """Do one job in a process that ``run_in_subprocess`` started, and send the result.

    What the job prints goes to stderr. The process exits when the one that started it
    exits or is killed: then the pipe to its input ends.
    """
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    answer: tuple[bool, object]
    try:
        level, stage, args = pickle.load(jobs)
        set_up_logging(level)
        threading.Thread(target=_exit_after, args=(jobs.fileno(),), daemon=True).start()
        answer = True, stage(*args)
    except BaseException as error:  # noqa: BLE001 - the caller decides
        error.add_note(f"in a process of its own:\n{traceback.format_exc()}")
        answer = False, error
    with answers:
        answers.write(_dump(answer))


def _dump(answer: tuple[bool, object]) -> bytes:
    """Pickle an answer; an error that cannot be pickled becomes one with its traceback."""
    try:
        content = pickle.dumps(answer)
        pickle.loads(content)
        return content
    except Exception as error:  # noqa: BLE001 - of whatever it holds
        cause = answer[1] if isinstance(answer[1], BaseException) else error
        text = "".join(traceback.format_exception(cause))
        return pickle.dumps((False, RuntimeError(text)))


def _exit_after(descriptor: int) -> None:
    """Exit when the process that writes to a pipe has ended."""
    os.read(descriptor, 1)
    os._exit(1)
