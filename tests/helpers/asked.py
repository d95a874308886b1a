"""Ask the app for answers, in a process without TensorFlow: the two do not go together.

As a program: BUNDLE PHOTO... -> JSON on stdout.
"""

import dataclasses
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = ("tensorflow", "keras", "sklearn", "cv2", "pandas", "matplotlib")


def asked(bundle: Path, photos: list[Path], *without: str) -> dict[str, Any]:
    """What the app says of photos.

    Args:
        without: packages that are not to be found.

    Returns:
        answers: as dictionaries. heavy: of ``HEAVY``, what was loaded. uploads: how many
        are still in memory. geometry, missing_geometry: as the ``Recogniser`` has them.
    """
    command = [sys.executable, __file__, ",".join(without), str(bundle)]
    names = "\n".join(map(str, photos))
    done = subprocess.run(
        command, input=names, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(without: str, bundle: str) -> None:
    """Answer the photos whose paths come on stdin."""
    for name in filter(None, without.split(",")):
        sys.modules[name] = None  # type: ignore[assignment]
    from kaggle_kit.app.answers import Answers
    from kaggle_kit.backends.uploads import CheckedImage

    answers = Answers(Path(bundle))
    paths = [Path(line) for line in sys.stdin.read().split("\n") if line]
    found = [answers.answer(CheckedImage(p.name, p.read_bytes())).answer for p in paths]
    said = {
        "answers": [dataclasses.asdict(a) | {"margin": a.margin} for a in found],
        "heavy": [name for name in HEAVY if sys.modules.get(name)],
        "uploads": sum(isinstance(thing, CheckedImage) for thing in gc.get_objects()),
        "geometry": answers.recogniser.geometry is not None,
        "missing_geometry": answers.recogniser.missing_geometry,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
