"""Give up what a process does not need before it runs a stranger's network.

With Landlock (Linux 5.13 and later, where it is enabled) the kernel enforces, from the call
on and also for root: no file is written, created, removed or truncated anywhere (truncated:
from Linux 6.2); no program is started; only the given paths, Python, its packages and the
system's libraries are read, and of ``/proc`` nothing that belongs to another process; no
TCP connection is made or accepted (from Linux 6.7); no signal is sent and no abstract socket
reached (from Linux 6.12). Not prevented: UDP, the use of memory and of processors.

Without Landlock a limit of the process keeps it from writing into files. It can still empty
or remove files of its user, read them, and use the network.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# System calls, the same numbers on every processor.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
QUERY_VERSION = 1
RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38
READ_FILE, READ_FOLDER = 1 << 2, 1 << 3
# How many rights of files each version of Landlock knows.
N_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
ALL_FILE_RIGHTS, NETWORK_RIGHTS, SCOPES = 16, 0b11, 0b11
NETWORK_FROM, SCOPES_FROM = 4, 6  # versions
# What loading a library and counting processors read.
SYSTEM = (
    *("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/sys", "/dev/urandom"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
)


class _Ruleset(ctypes.Structure):
    """What is forbidden unless a rule allows it."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _PathRule(ctypes.Structure):
    """What is allowed at a path and below."""

    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def landlock_version() -> int:
    """The version of Landlock that the kernel has; 0 without it."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(CREATE_RULESET, None, 0, QUERY_VERSION))


def confine(readable: Iterable[Path]) -> bool:
    """Confine this process for the rest of its life.

    Args:
        readable: files and folders to read, besides Python and the system's libraries.

    Returns:
        Whether Landlock confines it; without, see above.

    Raises:
        OSError: the kernel has Landlock and refuses it.
        RuntimeError: the process has other threads, which would not be confined.
    """
    _limit_files()
    version = landlock_version()
    if not version:
        return False
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("confine: expected one thread, got several")
    n_rights = N_FILE_RIGHTS.get(version, ALL_FILE_RIGHTS)
    ruleset = _Ruleset((1 << n_rights) - 1, NETWORK_RIGHTS, SCOPES)
    n_fields = 1 + (version >= NETWORK_FROM) + (version >= SCOPES_FROM)
    rules = _require(CREATE_RULESET, ctypes.byref(ruleset), 8 * n_fields, 0)
    for path in {*readable, *map(Path, SYSTEM), *_python_paths()}:
        _allow_reading(rules, path)
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _require(RESTRICT_SELF, rules, 0)
    os.close(rules)
    return True


def _limit_files() -> None:
    """Write nothing into files, and leave no image of the memory in a crash."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _python_paths() -> set[Path]:
    """Python, its packages, and this package, which may be in a folder of its own."""
    entries = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}
    return {Path(__file__).parents[1], *map(Path, entries)}


def _allow_reading(rules: int, path: Path) -> None:
    """Allow reading at a path and below; one that is not there is left out."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = READ_FILE | READ_FOLDER if path.is_dir() else READ_FILE
    rule = _PathRule(rights, descriptor)
    _require(ADD_RULE, rules, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(descriptor)


def _require(number: int, *arguments: object) -> int:
    result = _call(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def _call(number: int, *arguments: object) -> int:
    """Make a system call."""
    library = ctypes.CDLL(None, use_errno=True)
    numbers = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument
        for argument in arguments
    ]
    return int(library.syscall(ctypes.c_long(number), *numbers))
