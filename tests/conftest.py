"""What several tests need: a few drawn images, and the real ones where they are."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from kaggle_kit.demo import competition as drawn
from tests.helpers.local_settings import LOCAL
from tests.helpers.shared import Shared

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LANDMARKS45 = Path(__file__).parents[2] / "shared" / "data" / "landmarks45"


@pytest.fixture(scope="session")
def landmarks45() -> Path:
    """Real images in the competition's layout; the test is skipped where they are not."""
    if not LANDMARKS45.is_dir():
        pytest.skip(f"the real images are not here: {LANDMARKS45}")
    return LANDMARKS45


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Shared:
    """What all processes of this test run share."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    return Shared(root / "shared")


@pytest.fixture(scope="session")
def competition(shared) -> Path:
    """A drawn competition of some 150 images. Read only: tests that change it copy it."""

    def draw(out: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drawn, "N_LANDMARKS", 4)
            patch.setattr(drawn, "TRAIN_IMAGES", (10, 16))
            patch.setattr(drawn, "TEST_IMAGES", 4)
            patch.setattr(drawn, "TRAIN_OTHERS", 20)
            patch.setattr(drawn, "TEST_OTHERS", 12)
            drawn.draw(out, seed=1)

    return shared.make("competition", draw)[0]


@pytest.fixture
def rerun(competition, tmp_path):
    """A copy of the competition to be changed."""
    shutil.copytree(competition, tmp_path / "rerun")
    return tmp_path / "rerun"


@pytest.fixture(scope="session")
def settings():
    """The demo's config, made small, with three convolutions in place of ResNet-50."""
    from kaggle_kit import config

    small = {
        "name": "tiny",
        "data.image_size": 32,
        "data.stored_size": 36,
        "model.backbone": "tiny",
        "model.batch_norm_momentum": 0.5,  # so that statistics settle in a few steps
        "train.epochs": 2,
        "train.batch_size": 16,
        "recognition.batch_size": 8,
    }
    return config.override(config.load(Path("demo.yaml")), small)


@pytest.fixture(scope="session")
def subset_dir(settings, competition, shared) -> Path:
    """A subset of the drawn competition."""
    from kaggle_kit.data.subset import subset

    def make(out: Path) -> None:
        subset(settings.subset, settings.seed, competition, out)

    return shared.make("subset", make)[0]


@pytest.fixture(scope="session")
def shards_dir(settings, competition, subset_dir, shared) -> Path:
    """Its shards."""
    from kaggle_kit.data.shards import shards

    def make(out: Path) -> None:
        shards(settings.data, competition, subset_dir, out)

    return shared.make("shards", make)[0]


@pytest.fixture(scope="session")
def run_dir(settings, shards_dir, shared) -> Path:
    """A run of two epochs."""
    from kaggle_kit.training.trainer import train

    return shared.make("run", lambda out: train(settings, shards_dir, out))[0]


@pytest.fixture(scope="session")
def bundle_dir(run_dir, competition, shared) -> Path:
    """A bundle of that run. Read only: tests that change it copy it."""
    from kaggle_kit.bundling.build import build_bundle

    def make(out: Path) -> None:
        build_bundle([run_dir], competition, out)

    return shared.make("bundle", make)[0]


@pytest.fixture(scope="session")
def local(settings, competition, shared):
    """A run without a network on a subset with an unknown landmark, its bundle, its report."""
    from kaggle_kit import config
    from kaggle_kit.bundling.build import build_bundle
    from kaggle_kit.data.subset import subset
    from kaggle_kit.training.trainer import train

    def make(out: Path):
        changed = config.override(settings, LOCAL)
        subset(changed.subset, changed.seed, competition, out / "subset")
        train(changed, out / "subset", out / "run")
        built = build_bundle([out / "run"], competition, out / "bundle")
        return built.as_json()

    return shared.make("local", make)


@pytest.fixture(scope="session")
def both(settings, local, competition, shared):
    """The run without a network and one with, untrained, as an ensemble."""
    from kaggle_kit import config
    from kaggle_kit.bundling.build import build_bundle
    from kaggle_kit.training.trainer import train

    def make(out: Path):
        network = {"name": "net", "vlad": None, "model.backbone": "tiny"}
        plain = config.override(settings, LOCAL | network)
        train(plain, local[0] / "subset", out / "run")
        runs = [local[0] / "run", out / "run"]
        return build_bundle(runs, competition, out / "bundle").as_json()

    return shared.make("both", make)


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
SKIPPED: dict[str, str] = {}  # why, by test
# Why a test may be skipped where all that the tests need was installed.
ALLOWED_SKIPS = (
    "no GPU",
    "this machine allows no namespaces",
    "cannot become a user without an entry here",
    "cannot hold",  # an image format without that mode
    "the real images are not here",
    "the reference's features are not here",
    "this kernel has no Landlock",
)
# Files whose tests take longest: begun first, so that no process waits for another's last.
LONGEST = ("test_run.py", "test_readme_run.py", "test_disturbed.py", "test_browser.py")


def pytest_configure(config):
    """Let xdist hand out files in the order in which they are collected."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Put the files that take longest first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def tried() -> Counter[str]:
    """Counts of what was tried, by its name."""
    return TRIED


def pytest_runtest_logreport(report):
    """Remember why a test was skipped."""
    _remember_skip(report)


def pytest_collectreport(report):
    """Remember why all tests of a module were skipped."""
    _remember_skip(report)


def _remember_skip(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr
        SKIPPED[report.nodeid] = reason.removeprefix("Skipped: ")


def pytest_sessionfinish(session):
    """What one process of several has seen goes to the one that sums up.

    With KAGGLE_KIT_ALL_TESTS set, a test that is skipped for want of something that can be
    installed is a failure.
    """
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = dict(TRIED)
        session.config.workeroutput["skipped"] = SKIPPED
    elif os.environ.get("KAGGLE_KIT_ALL_TESTS") and _refused_skips():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _refused_skips() -> list[str]:
    return [
        f"{test}: {reason}"
        for test, reason in sorted(SKIPPED.items())
        if not any(allowed in reason for allowed in ALLOWED_SKIPS)
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What a process of several has seen is added."""
    output = getattr(node, "workeroutput", {})
    TRIED.update(output.get("tried", {}))
    SKIPPED.update(output.get("skipped", {}))


def pytest_terminal_summary(terminalreporter):
    """One line for each kind of bad input, and for each reason to skip tests."""
    for name, n in sorted(TRIED.items()):
        terminalreporter.write_line(f"tried: {n:,} {name}")
    for reason, n in Counter(SKIPPED.values()).most_common():
        terminalreporter.write_line(f"skipped: {n:,}, {reason}")
    if os.environ.get("KAGGLE_KIT_ALL_TESTS"):
        for line in _refused_skips():
            terminalreporter.write_line(f"FAILED: skipped, and should not be: {line}")
