"""What a kernel is told of its inputs: which competition, bundle and output are meant.

Kaggle may mount more than one of each. A kernel of the kit has a constant ``SOURCES``: its
copy on Kaggle, and in a rehearsal, says there what its metadata attach::

    competition   the slug
    bundle        the SHA-256 of the bundle's manifest
    earlier       OWNER/SLUG of the kernel whose output a training resumes
"""

import ast
import json
from collections.abc import Mapping
from pathlib import Path

from kaggle_kit.bundling.library import list_imports, parse
from kaggle_kit.errors import ArtefactError
from kaggle_kit.rehearsal.kernel_folder import METADATA, KernelMetadata, find_code_file

NAME = "SOURCES"


def make_sources(
    metadata: KernelMetadata, competition: str | None, bundle: str | None
) -> dict[str, str]:
    """What a kernel is told.

    The output to resume is that of the kernel itself, if it is one of its own sources, or
    else that of its only kernel source.

    Args:
        competition: the slug; None: not known.
        bundle: the SHA-256 of the manifest; None: not known.
    """
    kernels = metadata.kernel_sources
    earlier = kernels[0] if len(kernels) == 1 else None
    if metadata.id in kernels:
        earlier = metadata.id
    pairs = {"competition": competition, "bundle": bundle, "earlier": earlier}
    return {name: value for name, value in pairs.items() if value}


def takes_sources(script: Path) -> bool:
    """Whether a code file is a kernel of the kit that can be told its sources.

    Raises:
        ArtefactError: a file that ends in ``.py`` is not Python code.
    """
    return _find_literal(script) is not None


def require_one_competition(kernel: Path, metadata: KernelMetadata) -> None:
    """Check that the metadata say which competition a kernel of the kit is told.

    Args:
        kernel: the kernel folder.

    Raises:
        ArtefactError: they name several; there is no code file, or it is not Python code.
    """
    slugs = metadata.competition_sources
    if len(slugs) > 1 and takes_sources(find_code_file(kernel, metadata)):
        raise ArtefactError(
            f"{kernel / METADATA}: expected one competition in competition_sources, got "
            f"{' and '.join(slugs)}; keep the one that the kernel is for, or name it "
            f"with kaggle-kit ship --slug"
        )


def trains(script: Path) -> bool:
    """Whether a kernel of the kit calls ``kernel.train``, which needs no model."""
    calls = [node for node in ast.walk(parse(script)) if isinstance(node, ast.Call)]
    names = {ast.unparse(call.func) for call in calls}
    return bool(names & {"kernel.train", "kaggle_kit.kernel.train"})


def fill_in(script: Path, sources: Mapping[str, str]) -> bytes:
    """The content of a code file, with its sources; unchanged if it does not take them.

    Raises:
        ArtefactError: a file that ends in ``.py`` is not Python code.
    """
    content = script.read_bytes()
    literal = _find_literal(script)
    if literal is None:
        return content
    assert literal.end_lineno and literal.end_col_offset
    lines = content.splitlines(keepends=True)
    first, last = lines[literal.lineno - 1], lines[literal.end_lineno - 1]
    return b"".join(
        [
            *lines[: literal.lineno - 1],
            first[: literal.col_offset],  # both offsets are in bytes
            json.dumps(dict(sources)).encode(),
            last[literal.end_col_offset :],
            *lines[literal.end_lineno :],
        ]
    )


def _find_literal(script: Path) -> ast.Dict | None:
    """The value of the constant in a kernel of the kit; None if there is none."""
    if script.suffix != ".py":
        return None
    module = parse(script)
    if "kaggle_kit.kernel" not in list_imports(module):
        return None
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            names = [n.id for n in node.targets if isinstance(n, ast.Name)]
            if names == [NAME]:
                return node.value
    return None
