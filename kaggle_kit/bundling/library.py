"""Copy the kit into a bundle, and check that a kernel is compatible with a bundle."""

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

ENTRY = Path("kaggle_kit", "kernel.py")  # the only module that a kernel imports
# Modules that kernels of 0.1.0 import first; later versions of the kit do not have them.
FORMER = (Path("kaggle_kit", "tables.py"), Path("kaggle_kit", "training", "session.py"))
STOP = '''\
"""Stop a kernel of kaggle_kit 0.1.0, which imports this module first."""

raise SystemExit(
    "kernel of kaggle_kit 0.1.0, bundle of {version}: push the kernel of {version} with "
    "kaggle-kit push"
)
'''


def copy_library(folder: Path) -> None:
    """Copy the package, without documents and configs, and its licence into a folder."""
    ignored = shutil.ignore_patterns(
        "__pycache__", "*.pyc", "*.md", "py.typed", "configs", "kernels"
    )
    library = Path(kaggle_kit.__file__).parent
    shutil.copytree(library, folder / "kaggle_kit", ignore=ignored)
    (folder / "LICENSE").write_text(licence_text(), encoding="utf-8")


def stop_former_kernels(folder: Path) -> None:
    """Add modules to a bundle that stop a kernel of 0.1.0 with a one-line error."""
    for name in FORMER:
        text = STOP.format(version=kaggle_kit.__version__)
        (folder / name).write_text(text, encoding="utf-8")


def check_fit(bundle: Path, script: Path) -> None:
    """Refuse a kernel that is not compatible with a bundle; nothing is executed.

    A script that imports nothing of the kit is compatible with any bundle.

    Raises:
        ArtefactError: the bundle has no ``kaggle_kit.kernel``, the script imports another
            module of the kit, their interfaces differ, or the script is not Python.
    """
    if script.suffix != ".py":
        return
    module = parse(script)
    imports = list_imports(module)
    if not imports:
        return
    entry = bundle / ENTRY
    of_bundle = _read_constants(parse(entry)) if entry.is_file() else {}
    bundle_interface = _read_interface(of_bundle)
    constants, bundle_version = _read_constants(module), _read_version(bundle)
    others = sorted(imports - {"kaggle_kit.kernel"})
    # Kernels have a VERSION since 0.2.0.
    kernel_version = str(constants.get("VERSION", "before 0.2.0"))
    if bundle_interface and others:
        raise ArtefactError(
            f"{script}: kernel of kaggle_kit {kernel_version}, bundle of "
            f"{bundle_version}: expected it to import kaggle_kit.kernel alone, got "
            f"{others[0]}; push the kernel of {bundle_version}, from its folder kernels"
        )
    kernel_interface = _read_interface(constants) or INTERFACE
    former = of_bundle.get("FORMER")
    error = mismatch(
        *(kernel_version, kernel_interface, bundle_version, bundle_interface),
        former if isinstance(former, tuple) else (),
    )
    if error:
        raise ArtefactError(f"{bundle}: {error}")


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


def list_imports(script: ast.Module) -> set[str]:
    """The full names of the kit's modules that a script imports."""
    names: set[str] = set()
    for node in ast.walk(script):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "kaggle_kit":
            names |= {f"kaggle_kit.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name for name in names if name.startswith("kaggle_kit.")}


def _read_constants(module: ast.Module) -> dict[str, Any]:
    """The literal values that a module assigns to upper-case names at its top level."""
    return {
        target.id: ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and _is_literal(node.value)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def _is_literal(node: ast.expr) -> bool:
    """Whether an expression is a constant, or a tuple of constants."""
    nodes = node.elts if isinstance(node, ast.Tuple) else [node]
    return all(isinstance(n, ast.Constant) for n in nodes)


def _read_interface(constants: dict[str, Any]) -> int:
    number = constants.get("INTERFACE")
    return number if isinstance(number, int) else 0


def _read_version(bundle: Path) -> str:
    """The version of the kit that built a bundle."""
    try:
        manifest = json.loads((bundle / MANIFEST).read_text("utf-8"))
        return str(manifest["kit"]["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "an unknown version"
