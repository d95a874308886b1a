"""What several tests need: a few drawn photos, and the real ones where they are."""

from pathlib import Path

import pytest

from kaggle_kit.data import drawn

LANDMARKS45 = Path(__file__).parents[2] / "shared" / "data" / "landmarks45"


@pytest.fixture(scope="session")
def landmarks45() -> Path:
    """Real photos in the competition's layout; the test is skipped where they are not."""
    if not LANDMARKS45.is_dir():
        pytest.skip(f"the real photos are not here: {LANDMARKS45}")
    return LANDMARKS45


@pytest.fixture(scope="session")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn competition of some 150 photos. Read only: tests that change it copy it."""
    out = tmp_path_factory.mktemp("drawn") / "competition"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "N_LANDMARKS", 4)
        patch.setattr(drawn, "TRAIN_PHOTOS", (10, 16))
        patch.setattr(drawn, "TEST_PHOTOS", 4)
        patch.setattr(drawn, "TRAIN_OTHERS", 20)
        patch.setattr(drawn, "TEST_OTHERS", 12)
        drawn.draw(out, seed=1)
    return out
