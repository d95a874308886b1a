"""What the tests of Kaggle's side call things."""

from pathlib import Path

SLUG = "landmark-recognition-2021"


DATASET, KERNEL = "tester/landmark-kit", "tester/landmark-inference"


IDS = ["00000000000000aa", "00000000000000ab", "00000000000000ac"]


SAMPLE = "id,landmarks\n" + "".join(f"{i},1 0.1\n" for i in IDS)


SUBMISSION = "id,landmarks\n" + "".join(f"{i},7 0.{i[-1] == 'a':d}5\n" for i in IDS)


def files_of(folder: Path) -> dict[str, bytes]:
    """Name and content of all that is uploaded of a bundle."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "dataset-metadata.json"
    }
