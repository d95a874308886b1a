"""A competition with many test images."""

import shutil

from kaggle_kit.data.layout import image_path
from kaggle_kit.storage import tables


def multiply_test_images(competition, place, times):
    """Copy the competition with several copies of each test image, under other ids."""
    shutil.copytree(competition, place)
    rows = ["id,landmarks"]
    for image_id in tables.read_sample(competition / "sample_submission.csv"):
        for i in range(times):
            new_id = f"{i:02x}{image_id[2:]}"
            path = image_path(place / "test", new_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image_path(competition / "test", image_id), path)
            rows.append(f"{new_id},")
    (place / "sample_submission.csv").write_text("\n".join(rows) + "\n")
    (place / "solution.csv").unlink()
    return place
