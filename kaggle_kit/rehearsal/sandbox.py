"""Runs a kernel under Kaggle's rules; started by ``rehearse`` as a script of its own.

Everything here is of the standard library: the kernel must not meet what the kit imports.
The rules are passed as JSON::

    site        folders with the installed packages
    hidden      top-level packages that Kaggle's image lacks
    writable    the only folders that may be written to
    isolated    whether this process has a network and mount namespace of its own
    report      an open descriptor that takes a line for each rule that was broken

What the kernel's Python code tries is refused and reported, even if the kernel catches
the error. In namespaces of its own it cannot reach the network or write elsewhere by any
other means either, such as native code or another program.
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
# Audit events, and which of their arguments are paths whose entry in a folder changes …
ENTRIES = {
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
}
# … or, for these, the first: what the path leads to changes, through any link.
CONTENTS = ("os.chmod", "os.chown", "os.truncate", "os.utime")
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class Absent:
    """Makes packages that the image lacks impossible to import from this machine's."""

    def __init__(self, hidden: list[str], site: list[str]):
        self.hidden = set(hidden)
        self.site = set(site)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a package that the image lacks in the kernel's own folders alone.

        Raises:
            ModuleNotFoundError: it is only in this machine's.
        """
        if path is not None or name not in self.hidden:
            return None
        elsewhere = [folder for folder in sys.path if folder not in self.site]
        spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
        if spec is None:
            raise ModuleNotFoundError(
                f"No module named {name!r}: Kaggle's image does not have it", name=name
            )
        return spec


def watch(report: int, writable: list[str]) -> None:
    """Refuse and report network access and writing outside ``writable``."""

    def refuse(what: str) -> None:
        os.write(report, f"{' '.join(what.split())}\n".encode())
        traceback.print_stack()  # to the log, as the kernel may catch what follows
        raise PermissionError(f"not allowed on Kaggle: {what}")

    def judge(path: Any, through_link: bool) -> None:
        if isinstance(path, int):
            return  # a descriptor that was opened before, and judged then
        name = os.path.abspath(os.fsdecode(path))
        folder, entry = os.path.split(name)
        real = os.path.realpath(name if through_link else folder)
        real = real if through_link else os.path.join(real, entry)
        if not any(real == top or real.startswith(f"{top}/") for top in writable):
            refuse(f"wrote outside its working folder: {name}")

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if flags & WRITING:
                judge(path, through_link=True)
        elif event in ENTRIES:
            for place in ENTRIES[event]:
                judge(args[place], through_link=False)
        elif event in CONTENTS:
            judge(args[0], through_link=True)
        elif event == "socket.__new__":
            if args[1] in (socket.AF_INET, socket.AF_INET6):
                refuse("opened a network socket")
        elif event in LOOKUPS:
            refuse(f"looked up the host {args[0]!r}")

    sys.addaudithook(hook)


def make_read_only(writable: list[str]) -> None:
    """Mount everything but ``writable`` read-only, in this mount namespace."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for folder in writable:
        subprocess.run(["mount", "--bind", folder, folder], check=True)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4] for line in file]
    for point in points:
        octal = point.encode().decode("unicode_escape")  # a space is \\040 there
        target = octal.encode("latin-1").decode()
        if target in writable or target.startswith(("/proc", "/sys", "/dev")):
            continue
        command = ["mount", "-o", "remount,bind,ro", target]
        subprocess.run(command, check=target == "/", stderr=subprocess.DEVNULL)


def main() -> None:
    """Read the rules and the kernel from the command line; run it by them."""
    rules = json.loads(sys.argv[1])
    kernel = sys.argv[2]
    if rules["isolated"]:
        make_read_only([folder for folder in rules["writable"] if folder != "/dev"])
        os.chdir(os.getcwd())  # into the writable mount of the working folder
    sys.path[0:1] = []  # the folder of this file, which Kaggle does not have
    sys.path += rules["site"]
    sys.meta_path.insert(0, Absent(rules["hidden"], rules["site"]))
    sys.argv = [kernel]
    socket.has_ipv6 = False  # urllib3 tries a socket at import where there is IPv6
    watch(rules["report"], rules["writable"])
    runpy.run_path(kernel, run_name="__main__")


if __name__ == "__main__":
    main()
