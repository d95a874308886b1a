"""What several tests need: a few drawn photos, and the real ones where they are."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from kaggle_kit.demo import competition as drawn
from tests.helpers.local_settings import LOCAL

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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


@pytest.fixture
def rerun(competition, tmp_path):
    """A copy of the competition to be changed."""
    shutil.copytree(competition, tmp_path / "rerun")
    return tmp_path / "rerun"


@pytest.fixture(scope="session")
def settings():
    """The demo's config, made as small as ResNet-50 allows."""
    from kaggle_kit import config

    small = {
        "name": "tiny",
        "data.image_size": 32,
        "data.stored_size": 36,
        "train.epochs": 2,
        "train.batch_size": 16,
        "recognition.batch_size": 8,
    }
    return config.override(config.load(Path("demo.yaml")), small)


@pytest.fixture(scope="session")
def subset_dir(settings, competition, tmp_path_factory) -> Path:
    """A subset of the drawn competition."""
    from kaggle_kit.data.subset import subset

    out = tmp_path_factory.mktemp("subset") / "subset"
    subset(settings.subset, settings.seed, competition, out)
    return out


@pytest.fixture(scope="session")
def shards_dir(settings, competition, subset_dir, tmp_path_factory) -> Path:
    """Its shards."""
    from kaggle_kit.data.shards import shards

    out = tmp_path_factory.mktemp("shards") / "shards"
    shards(settings.data, competition, subset_dir, out)
    return out


@pytest.fixture(scope="session")
def run_dir(settings, shards_dir, tmp_path_factory) -> Path:
    """A run of two epochs."""
    from kaggle_kit.training.trainer import fit

    out = tmp_path_factory.mktemp("run") / "run"
    fit(settings, shards_dir, out)
    return out


@pytest.fixture(scope="session")
def bundle_dir(run_dir, competition, tmp_path_factory) -> Path:
    """A bundle of that run. Read only: tests that change it copy it."""
    from kaggle_kit.bundling.bundle import bundle

    out = tmp_path_factory.mktemp("bundle") / "bundle"
    bundle([run_dir], competition, out)
    return out


@pytest.fixture(scope="session")
def local(settings, competition, tmp_path_factory):
    """A run without a network on a subset with an unknown landmark, its bundle, its report."""
    from kaggle_kit import config
    from kaggle_kit.bundling.bundle import bundle
    from kaggle_kit.data.subset import subset
    from kaggle_kit.training.trainer import fit

    out = tmp_path_factory.mktemp("local")
    changed = config.override(settings, LOCAL)
    subset(changed.subset, changed.seed, competition, out / "subset")
    fit(changed, out / "subset", out / "run")
    report = bundle([out / "run"], competition, out / "bundle")
    return out, report


@pytest.fixture(scope="session")
def both(settings, local, competition, tmp_path_factory):
    """The run without a network and one with, untrained, as an ensemble."""
    from kaggle_kit import config
    from kaggle_kit.bundling.bundle import bundle
    from kaggle_kit.training.trainer import fit

    out = tmp_path_factory.mktemp("both")
    plain = config.override(
        settings, LOCAL | {"name": "net", "vlad": None, "model.backbone": "resnet50"}
    )
    fit(plain, local[0] / "subset", out / "run")
    report = bundle([local[0] / "run", out / "run"], competition, out / "bundle")
    return out, report


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        camera = "--use-fake-device-for-media-stream"
        arguments = ["--no-sandbox", "--disable-gpu", camera]
        shown = driver.chromium.launch(executable_path=path, args=arguments)
        yield shown
        shown.close()


TRIED: Counter[str] = Counter()


@pytest.fixture
def tried() -> Counter[str]:
    """Counts of what was tried, by its name."""
    return TRIED


def pytest_sessionfinish(session):
    """What a process of several has tried goes to the one that sums up."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = dict(TRIED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What a process of several has tried is added."""
    TRIED.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter):
    """One line for each kind of bad input."""
    for name, n in sorted(TRIED.items()):
        terminalreporter.write_line(f"tried: {n:,} {name}")
