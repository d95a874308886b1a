"""Answer images with the app, in its own process: it cannot share one with TensorFlow.

As a program: WITHOUT BUNDLE, paths of images on stdin, a JSON object on stdout.
"""

import dataclasses
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = ("tensorflow", "keras", "sklearn", "cv2", "pandas", "matplotlib")


def answer_images(bundle: Path, images: list[Path], *without: str) -> dict[str, Any]:
    """Answer images with the app.

    Args:
        without: packages that the process cannot import.

    Returns:
        answers: as dictionaries. heavy: the packages of ``HEAVY`` that were imported.
        uploads: number of uploads still in memory. geometry, missing_geometry: of the
        ``Recogniser``.
    """
    command = [sys.executable, __file__, ",".join(without), str(bundle)]
    names = "\n".join(map(str, images))
    process = subprocess.run(
        command, input=names, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise AssertionError(process.stderr[-2000:])
    output: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return output


def main(without: str, bundle: str) -> None:
    """Answer the images whose paths come on stdin."""
    for name in filter(None, without.split(",")):
        sys.modules[name] = None  # type: ignore[assignment]
    from kaggle_kit.app.answers import AnswerService
    from kaggle_kit.backends.uploads import CheckedImage

    service = AnswerService(Path(bundle))
    paths = [Path(line) for line in sys.stdin.read().split("\n") if line]
    answers = [
        service.answer(CheckedImage(path.name, path.read_bytes())).answer
        for path in paths
    ]
    output = {
        "answers": [dataclasses.asdict(a) | {"margin": a.margin} for a in answers],
        "heavy": [name for name in HEAVY if sys.modules.get(name)],
        "uploads": sum(isinstance(o, CheckedImage) for o in gc.get_objects()),
        "geometry": service.recogniser.geometry is not None,
        "missing_geometry": service.recogniser.missing_geometry,
    }
    print(json.dumps(output))


if __name__ == "__main__":
    main(*sys.argv[1:])
