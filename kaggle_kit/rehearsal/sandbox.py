"""Run a kernel under Kaggle's rules. ``rehearse`` starts this file as a script.

It uses only the standard library, so that the kernel finds no module imported that it
did not import itself. The rules are passed as JSON::

    site        the folders of installed packages
    hidden      top-level packages that Kaggle's image lacks
    writable    the only folders that may be written to
    isolated    whether this process has its own network and mount namespaces
    report      an open file descriptor that gets a line for each broken rule

An audit hook refuses and reports what the kernel's Python code tries, even if the kernel
catches the error. The namespaces also stop native code and other programs.
"""

import importlib.machinery
import json
import os
import runpy
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events that change an entry of a folder: the indices of their path arguments
ENTRY_EVENTS = {
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
}
# Audit events that change the file at their first argument, through any symbolic link
CONTENT_EVENTS = ("os.chmod", "os.chown", "os.truncate", "os.utime")
LOOKUP_EVENTS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class PackageFilter:
    """An import hook that hides installed packages which Kaggle's image lacks."""

    def __init__(self, hidden: list[str], site: list[str]):
        self.hidden = set(hidden)
        self.site = set(site)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a hidden package, but not in the folders of installed packages.

        Raises:
            ModuleNotFoundError: the package is in no other folder.
        """
        if path is not None or name not in self.hidden:
            return None
        own = [folder for folder in sys.path if folder not in self.site]
        spec = importlib.machinery.PathFinder.find_spec(name, own)
        if spec is None:
            raise ModuleNotFoundError(
                f"No module named {name!r}: Kaggle's image does not have it", name=name
            )
        return spec


def install_audit_hook(report: int, writable: list[str]) -> None:
    """Refuse and report network access, and writes outside ``writable``."""

    def refuse(what: str) -> None:
        os.write(report, f"{' '.join(what.split())}\n".encode())
        traceback.print_stack()  # into the log: the kernel may catch the exception
        raise PermissionError(f"not allowed on Kaggle: {what}")

    def check_write(path: Any, follow_link: bool) -> None:
        if isinstance(path, int):
            return  # a file descriptor: the file was checked when it was opened
        name = os.path.abspath(os.fsdecode(path))
        folder, entry = os.path.split(name)
        real = os.path.realpath(name if follow_link else folder)
        real = real if follow_link else os.path.join(real, entry)
        if not any(real == top or real.startswith(f"{top}/") for top in writable):
            refuse(f"wrote outside its working folder: {name}")

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if flags & WRITING:
                check_write(path, follow_link=True)
        elif event in ENTRY_EVENTS:
            for index in ENTRY_EVENTS[event]:
                check_write(args[index], follow_link=False)
        elif event in CONTENT_EVENTS:
            check_write(args[0], follow_link=True)
        elif event == "socket.__new__":
            if args[1] in (socket.AF_INET, socket.AF_INET6):
                refuse("opened a network socket")
        elif event in LOOKUP_EVENTS:
            refuse(f"looked up the host {args[0]!r}")

    sys.addaudithook(hook)


def make_read_only(writable: list[str]) -> None:
    """Mount everything except ``writable`` read-only, in this mount namespace."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for folder in writable:
        subprocess.run(["mount", "--bind", folder, folder], check=True)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4] for line in file]
    for point in points:
        raw = point.encode().decode("unicode_escape")  # a space is written as \\040
        target = raw.encode("latin-1").decode()
        if target in writable or target.startswith(("/proc", "/sys", "/dev")):
            continue
        command = ["mount", "-o", "remount,bind,ro", target]
        subprocess.run(command, check=target == "/", stderr=subprocess.DEVNULL)


def main() -> None:
    """Read the rules and the kernel's path from the command line, and run the kernel."""
    rules = json.loads(sys.argv[1])
    kernel = sys.argv[2]
    if rules["isolated"]:
        make_read_only([folder for folder in rules["writable"] if folder != "/dev"])
        os.chdir(os.getcwd())  # enters the writable mount of the working folder
    sys.path[0:1] = []  # the folder of this file
    sys.path += rules["site"]
    sys.meta_path.insert(0, PackageFilter(rules["hidden"], rules["site"]))
    sys.argv = [kernel]
    socket.has_ipv6 = False  # with IPv6, urllib3 opens a socket when it is imported
    install_audit_hook(rules["report"], rules["writable"])
    runpy.run_path(kernel, run_name="__main__")


if __name__ == "__main__":
    main()
