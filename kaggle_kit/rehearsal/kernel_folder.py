"""A kernel folder: its ``kernel-metadata.json`` and its code file."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files
from kaggle_kit.storage.files import package_path
from kaggle_kit.storage.inside import check_name, resolve_inside

METADATA = "kernel-metadata.json"
COMPETITION = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")  # a slug
# OWNER/SLUG of a dataset or kernel, with more parts of a model. Kaggle's client gets it as
# an argument, so it does not begin with a hyphen.
SOURCE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)+", re.ASCII)
_MALFORMED = (*json_files.DAMAGE, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class KernelMetadata:
    """The content of ``kernel-metadata.json``; the fields are Kaggle's keys."""

    id: str  # owner/slug; empty if the file has none
    title: str
    code_file: str
    language: str
    kernel_type: str
    is_private: bool
    enable_gpu: bool
    enable_tpu: bool
    enable_internet: bool
    machine_shape: str
    dataset_sources: list[str]
    competition_sources: list[str]
    kernel_sources: list[str]
    model_sources: list[str]
    keywords: list[str]


def find_kernel(kernel: Path | None) -> Path:
    """A kernel folder: as it is given, or else of that name among the kit's.

    So ``inference`` and ``kernels/inference`` are found in any folder. None means the
    kit's inference kernel.
    """
    own = package_path("kernels") / (kernel.name if kernel else "inference")
    if kernel is None or (not os.path.exists(kernel) and own.is_dir()):
        return own
    return kernel


def read_kernel_metadata(kernel: Path) -> KernelMetadata:
    """Read and check the metadata of a kernel folder.

    A missing field gets its value for a private Python script on a T4 GPU.

    Raises:
        ArtefactError: the file is missing, malformed or a link out of the folder, the
            code file would lie outside the folder, a source is none, or the kernel asks for internet access,
            which the competition does not allow.
    """
    path = resolve_inside(kernel, METADATA)
    try:
        values = json_files.read_json(path)
        metadata = _parse(values)
    except _MALFORMED as error:
        raise ArtefactError(
            f"{path}: expected a kernel's metadata with a code_file in the same folder "
            f"and lists of sources, got {error!r:.200}; correct it"
        ) from None
    if metadata.enable_internet:
        raise ArtefactError(
            f"{path}: expected enable_internet false, got "
            f"{values.get('enable_internet')}; the competition does not allow it"
        )
    return metadata


def find_code_file(kernel: Path, metadata: KernelMetadata) -> Path:
    """The path of a kernel's code file.

    Raises:
        ArtefactError: there is no such file, or it is a link that leads out of the folder.
    """
    script = resolve_inside(kernel, metadata.code_file)
    if not script.is_file():
        raise ArtefactError(
            f"{script}: expected the kernel's code file, found none; check code_file in "
            f"{METADATA}"
        )
    return script


def _parse(values: dict[str, Any]) -> KernelMetadata:
    code_file = _text(values, "code_file")
    if "/" in check_name(code_file) or code_file == METADATA:
        raise ValueError(f"code_file {code_file!r}")
    competitions = _texts(values, "competition_sources")
    for slug in competitions:
        if not COMPETITION.fullmatch(slug):
            raise ValueError(f"{slug!r} for the slug of a competition")
    kinds = ("dataset_sources", "kernel_sources", "model_sources")
    sources = {kind: _texts(values, kind) for kind in kinds}
    for kind, names in sources.items():
        for name in names:
            if not SOURCE.fullmatch(name):
                raise ValueError(f"{name!r} in {kind}, instead of OWNER/SLUG")
    return KernelMetadata(
        id=_text(values, "id"),
        title=_text(values, "title"),
        code_file=code_file,
        language=_text(values, "language", "python"),
        kernel_type=_text(values, "kernel_type", "script"),
        is_private=bool(values.get("is_private", True)),
        enable_gpu=bool(values.get("enable_gpu", True)),
        enable_tpu=bool(values.get("enable_tpu", False)),
        enable_internet=str(values.get("enable_internet")).lower() != "false",
        machine_shape=_text(values, "machine_shape", "NvidiaTeslaT4"),
        competition_sources=competitions,
        **sources,
        keywords=[],
    )


def _text(values: dict[str, Any], name: str, default: str = "") -> str:
    text = values.get(name, default)
    if not isinstance(text, str):
        raise TypeError(f"{name} {text!r}")
    return text


def _texts(values: dict[str, Any], name: str) -> list[str]:
    texts = values.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} {texts!r}")
    return texts
