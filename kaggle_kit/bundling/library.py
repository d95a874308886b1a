"""The kit itself, as it travels in a folder, and whether a kernel fits the one there."""

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import kaggle_kit
from kaggle_kit.bundling.notice import licence_text
from kaggle_kit.errors import ArtefactError
from kaggle_kit.kernel import INTERFACE, mismatch
from kaggle_kit.storage.manifest import MANIFEST

ENTRY = Path("kaggle_kit", "kernel.py")  # all that a kernel imports of its bundle
# What the kernels of 0.1.0 import first; the kit has these modules no more.
FORMER = (Path("kaggle_kit", "tables.py"), Path("kaggle_kit", "training", "session.py"))
STOP = '''\
"""Ends a kernel of kaggle_kit 0.1.0, which imports this first."""

raise SystemExit(
    "kernel of kaggle_kit 0.1.0, bundle of {version}: push the kernel of {version} with "
    "kaggle-kit push"
)
'''


def copy_library(part: Path) -> None:
    """Put the package, without what is of no use there, and its licence into a folder."""
    ignored = shutil.ignore_patterns(
        "__pycache__", "*.pyc", "*.md", "py.typed", "configs", "kernels"
    )
    library = Path(kaggle_kit.__file__).parent
    shutil.copytree(library, part / "kaggle_kit", ignore=ignored)
    (part / "LICENSE").write_text(licence_text(), encoding="utf-8")


def stop_former_kernels(part: Path) -> None:
    """Put modules into a bundle that end a kernel of an earlier version with one line."""
    for name in FORMER:
        text = STOP.format(version=kaggle_kit.__version__)
        (part / name).write_text(text, encoding="utf-8")


def check_fit(bundle: Path, script: Path) -> None:
    """Refuse a kernel that cannot run with a bundle, before either is run or sent.

    Nothing is executed. A script that imports nothing of the kit needs none of it.

    Raises:
        ArtefactError: the bundle has no ``kaggle_kit.kernel``, or the script imports
            anything else of the kit, or both are of different interfaces; or the script
            is not Python.
    """
    if script.suffix != ".py":
        return
    parsed = parse(script)
    used = _used(parsed)
    if not used:
        return
    entry = bundle / ENTRY
    there = _interface(_constants(parse(entry))) if entry.is_file() else 0
    constants, version = _constants(parsed), _version(bundle)
    others = sorted(used - {"kaggle_kit.kernel"})
    made = str(constants.get("VERSION", "before 0.2.0"))  # from which on it is there
    if there and others:
        raise ArtefactError(
            f"{script}: kernel of kaggle_kit {made}, bundle of {version}: expected it to "
            f"import kaggle_kit.kernel alone, got {others[0]}; push the kernel of "
            f"{version}, from its folder kernels"
        )
    asked = _interface(constants) or INTERFACE
    wrong = mismatch(made, asked, version, there)
    if wrong:
        raise ArtefactError(f"{bundle}: {wrong}")


def parse(path: Path) -> ast.Module:
    """Parse the code file of a kernel, which is uploaded as UTF-8; nothing is executed.

    Raises:
        ArtefactError: it is not Python code.
    """
    try:
        return ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ArtefactError(
            f"{path}: expected Python code, got {error!r:.200}; correct the code"
        ) from None


def _used(script: ast.Module) -> set[str]:
    """Full names of the kit's modules that a script imports."""
    names: set[str] = set()
    for node in ast.walk(script):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "kaggle_kit":
            names |= {f"kaggle_kit.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name for name in names if name.startswith("kaggle_kit.")}


def _constants(module: ast.Module) -> dict[str, Any]:
    """The plain values that a module gives to names of capitals at its top."""
    return {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def _interface(constants: dict[str, Any]) -> int:
    number = constants.get("INTERFACE")
    return number if isinstance(number, int) else 0


def _version(bundle: Path) -> str:
    """The version of the kit that made a bundle."""
    try:
        manifest = json.loads((bundle / MANIFEST).read_text("utf-8"))
        return str(manifest["kit"]["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "an unknown version"
