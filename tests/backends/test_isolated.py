"""A network in a process of its own: the same outputs, and its death is one line."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.backends import isolated
from kaggle_kit.backends.base import LITE, MODEL
from kaggle_kit.backends.isolated import IsolatedEngine, IsolatedRunner
from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.embedder_parts import load_parts
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage.tables import read_submission
from tests.helpers.complaints import check_complaint
from tests.helpers.lite_exports import FLOATS, INTEGERS
from tests.helpers.signed_bundles import sign

if find_spec("ai_edge_litert") is None:
    pytest.skip("the extra 'app' is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def path(exports):
    return exports / FLOATS


@pytest.fixture
def runner(path):
    """A network that runs, in a process of its own."""
    runner = IsolatedRunner(path, LightEngine.loader)
    yield runner
    runner.close()


def pixels(runner, n):
    shape = n, runner.side, runner.side, 3
    return np.random.default_rng(n).integers(0, 256, shape, np.uint8)


# In a process without TensorFlow, which cannot be together with the app's LiteRT.
BOTH = """
import sys
from pathlib import Path
import numpy as np
from kaggle_kit.backends.isolated import IsolatedEngine
from kaggle_kit.backends.pillow import LightEngine
for path in map(Path, sys.argv[1:]):
    apart = IsolatedEngine(LightEngine()).load_runner(path, False)
    here = LightEngine().load_runner(path, False)
    for name in ("side", "width", "n_classes"):
        assert getattr(apart, name) == getattr(here, name), name
    assert list(apart.views) == list(here.views)
    for n in (1, 5):
        shape = n, here.side, here.side, 3
        images = np.random.default_rng(n).integers(0, 256, shape, np.uint8)
        found, expected = apart.start(images)(), here.start(images)()
        assert found.keys() == expected.keys() == {"embedding", "log_probability"}
        for name in expected:
            assert found[name].dtype == expected[name].dtype == np.float32
            assert found[name].tobytes() == expected[name].tobytes(), name
    apart.close()
    print(path.name)
"""


def test_the_outputs_are_those_of_this_process_to_the_byte(exports):
    paths = [exports / FLOATS, exports / INTEGERS]
    done = subprocess.run(
        [sys.executable, "-c", BOTH, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [FLOATS, INTEGERS]


def test_batches_from_several_threads_are_not_mixed_up(runner):
    batches = [pixels(runner, n) for n in (1, 2, 3, 4)]
    expected = [runner.start(batch)() for batch in batches]
    waiting = [runner.start(batch) for batch in batches]
    for wait, outputs in zip(waiting, expected, strict=True):
        assert (wait()["embedding"] == outputs["embedding"]).all()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_process_that_dies_is_one_line(runner, path, number):
    os.kill(runner._process.pid, number)
    for _ in range(2):  # also when it is dead already
        with pytest.raises(ArtefactError) as caught:
            runner.start(pixels(runner, 2))()
        check_complaint(caught.value, path)
        assert f"killed by {number.name}; do not use this bundle" in str(caught.value)


def test_a_network_that_takes_no_end_is_one_line(runner, path, monkeypatch):
    monkeypatch.setattr(isolated, "IMAGE_S", 0.1)
    os.kill(runner._process.pid, signal.SIGSTOP)
    with pytest.raises(ArtefactError, match="got no answer in time") as caught:
        runner.start(pixels(runner, 1))()
    check_complaint(caught.value, path)


@pytest.mark.parametrize(
    "answer",
    [
        "print(1)",
        """print('{"side": Infinity}')""",
        "print('no JSON')",
        "print('{}')",
        "print('{\"side\": 10**9}')",
        """print('{"side": 32, "width": 1e99, "n_classes": 0, "views": ["serve"]}')""",
        """print('{"side": 32, "width": 8, "n_classes": 0, "views": ["other"]}')""",
        """print('{"side": 32, "width": 8, "n_classes": -1, "views": ["serve"]}')""",
        "print('[' * 60_000)",
        "print('x' * 10_000_000)",
        "sys.exit(3)",
        "os.abort()",
    ],
)
def test_what_a_taken_over_process_answers_is_not_believed(path, monkeypatch, answer):
    monkeypatch.setattr(isolated, "START", f"import os, sys; {answer}")
    with pytest.raises(ArtefactError) as caught:
        IsolatedRunner(path, LightEngine.loader)
    check_complaint(caught.value, path)


def test_outputs_that_are_cut_short_are_one_line(path, monkeypatch):
    header = '{"side": 32, "width": 8, "n_classes": 0, "views": ["serve"]}'
    short = f"print({header!r}); print('{{}}'); print('too short'); sys.stdout.flush()"
    monkeypatch.setattr(isolated, "START", f"import sys; {short}; sys.stdin.readline()")
    runner = IsolatedRunner(path, LightEngine.loader)
    with pytest.raises(ArtefactError, match="ended with code 0"):
        runner.start(pixels(runner, 1))()
    runner.close()


def test_a_file_that_is_refused_is_the_line_of_the_check(tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(b"\x08\0\0\0TFL3 but no more")
    with pytest.raises(ArtefactError, match="expected a LiteRT file") as caught:
        IsolatedRunner(path, LightEngine.loader)
    check_complaint(caught.value, path)


def wait_until_gone(pid, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if status.rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


ORPHAN = """
import sys, time
from pathlib import Path
from kaggle_kit.backends.isolated import IsolatedRunner
from kaggle_kit.backends.pillow import LightEngine
runner = IsolatedRunner(Path(sys.argv[1]), LightEngine.loader)
print(runner._process.pid, flush=True)
time.sleep(60)
"""


def test_the_process_ends_with_a_parent_that_is_killed(path):
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, path], stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    wait_until_gone(pid)


def test_the_process_outlives_the_thread_that_started_it_and_ends_when_closed(path):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(IsolatedRunner(path, LightEngine.loader))
    )
    thread.start()
    thread.join()
    (runner,) = found
    assert runner.start(pixels(runner, 1))()["embedding"].shape == (1, runner.width)
    runner.close()
    wait_until_gone(runner._process.pid)


def test_secrets_of_the_environment_are_not_passed_on(path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    runner = IsolatedRunner(path, LightEngine.loader)
    environment = Path(f"/proc/{runner._process.pid}/environ").read_bytes()
    runner.close()
    assert b"secret" not in environment


def test_modules_in_the_working_folder_are_not_imported(path, tmp_path, monkeypatch):
    for name in ("json", "numpy", "kaggle_kit"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    IsolatedRunner(path, LightEngine.loader).close()


class Recording:
    """An engine that only records what it is asked to load."""

    n_threads, loader, deadline = 1, "", None

    def __init__(self, networks=(MODEL,)):
        self.networks, self.paths = networks, []

    def load_runner(self, path, mixed_precision):
        self.paths.append(path)
        raise InterruptedError


class Reader:
    def __init__(self, engine):
        self.engine = engine


@pytest.mark.parametrize(
    ("files", "expected"),
    [((MODEL, LITE), LITE), ((MODEL,), MODEL), ((LITE,), LITE)],
)
def test_the_litert_file_is_preferred_to_the_savedmodel(
    settings, tmp_path, files, expected
):
    engine = Recording(IsolatedEngine(Recording()).networks)
    names = {MODEL: f"{MODEL}/saved_model.pb", LITE: LITE}
    listed = [f"embedders/0/{names[file]}" for file in files]
    with pytest.raises(InterruptedError):
        load_parts(tmp_path, settings.recognition, Reader(engine), listed)
    assert engine.paths == [tmp_path / "embedders" / "0" / expected]


def test_a_bundle_of_a_stranger_runs_apart_and_a_plain_one_does_not(bundle_dir):
    with Recogniser.load(bundle_dir, LightEngine(), untrusted=True) as recogniser:
        (part,) = recogniser.embedder.parts
        assert isinstance(part.runner, IsolatedRunner)
        assert recogniser.recognise([np.zeros((40, 40, 3), np.uint8)])[0].error is None
    with Recogniser.load(bundle_dir) as recogniser:
        (part,) = recogniser.embedder.parts
        assert not isinstance(part.runner, IsolatedRunner) and part.path.name == MODEL


@pytest.mark.extended
def test_a_submission_for_a_strangers_bundle_is_that_of_a_plain_one(
    bundle_dir, competition, tmp_path
):
    """By its LiteRT file nearly, and by its SavedModel, where it has no other, to the byte."""
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    (tmp_path / "bundle" / "embedders" / "0" / LITE).unlink()
    sign(tmp_path / "bundle")
    plain, lite, saved = (tmp_path / f"{i}.csv" for i in range(3))
    predict(bundle_dir, competition, plain)
    predict(bundle_dir, competition, lite, untrusted=True)
    predict(tmp_path / "bundle", competition, saved, untrusted=True)
    assert saved.read_bytes() == plain.read_bytes()
    expected = read_submission(plain)
    for image_id, guess in read_submission(lite).items():
        assert guess.landmark_id == expected[image_id].landmark_id
        assert guess.confidence == pytest.approx(
            expected[image_id].confidence, abs=1e-4
        )
