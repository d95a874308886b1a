"""Many users at once: each reads the answer for their own image, in bounded memory."""

import io
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Event, Thread

import numpy as np
import psutil
import pytest
from PIL import Image

from kaggle_kit.data.layout import image_path
from kaggle_kit.escaping import escape_markdown
from kaggle_kit.storage import tables
from tests.helpers.app_answers import answer_images
from tests.helpers.served_app import serve_app

if not all(map(find_spec, ("streamlit", "ai_edge_litert", "websockets"))):
    pytest.skip("the extra 'app' is not installed", allow_module_level=True)

from tests.helpers.people import find_numbers, visit

MAX_MB = 400  # of the whole process
MAX_EXTRA_MB = 120  # of many users; twenty that decode in parallel take 320
MAX_GROWTH_MB = 80  # after the users have left; Streamlit keeps pages for two minutes


def rss_mb(server):
    return psutil.Process(server.process.pid).memory_info().rss / 1e6


class Peak:
    """The peak memory of an app within a ``with`` block."""

    def __init__(self, server):
        self.server, self.mb, self._end = server, 0.0, Event()
        self._thread = Thread(target=self._measure)

    def _measure(self):
        while not self._end.wait(0.02):
            self.mb = max(self.mb, rss_mb(self.server))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def visit_at_once(url, images_of_users):
    """The texts that each user reads, all of whom visit at the same time."""
    with ThreadPoolExecutor(len(images_of_users)) as pool:
        return list(pool.map(lambda images: visit(url, images), images_of_users))


def expected_lines(bundle, paths):
    """The numbers of each answer, by file name; answers with equal numbers are dropped."""
    lines: dict[str, str] = {}
    answers = answer_images(bundle, paths)["answers"]
    for path, answer in zip(paths, answers, strict=True):
        best = answer["candidates"][0]["confidence"]
        margin = "none" if answer["margin"] is None else f"{answer['margin']:.3f}"
        line = (
            f"C of your image: {answer['c']:.3f}. Confidence: {best:.3f}. Margin to the "
            f"next landmark: {margin}."
        )
        if line not in lines.values():
            lines[path.name] = line
    return lines


@pytest.mark.parametrize(
    ("n_users", "rounds"),
    [
        pytest.param(20, 1, id="once"),
        pytest.param(20, 50, id="often", marks=pytest.mark.slow),
    ],
)
def test_each_user_reads_their_own_answer(
    n_users, rounds, local, competition, tmp_path, capsys
):
    """No other user's image is on the page; the numbers are those of a single user.

    The bundle has geometry: an untrained network would give the same numbers for all.
    """
    bundle_dir = local[0] / "bundle"
    ids = [label.image_id for label in tables.read_labels(competition / "train.csv")]
    paths = [image_path(competition / "train", image_id) for image_id in ids]
    lines = expected_lines(bundle_dir, paths)
    names = list(lines)
    data = {path.name: path.read_bytes() for path in paths}
    assert len(names) >= n_users
    uploads = [
        [names[(i + n_users * k) % len(names)] for k in range(rounds)]
        for i in range(n_users)
    ]
    with serve_app(bundle_dir, tmp_path, "--photos", competition) as server:
        visit(server.url, [(names[0], data[names[0]])])
        before = rss_mb(server)
        with Peak(server) as peak:
            images = [[(name, data[name]) for name in user] for user in uploads]
            pages = visit_at_once(server.url, images)
        after = rss_mb(server)
    for user, user_pages in zip(uploads, pages, strict=True):
        for name, texts in zip(user, user_pages, strict=True):
            assert find_numbers(texts) == lines[name]
            assert [n for n in names if escape_markdown(n) in texts] == [name]
    with capsys.disabled():
        print(
            f"\n{n_users} users, {n_users * rounds} answers: {before:.0f} MB before, "
            f"peak {peak.mb:.0f} MB, {after:.0f} MB after"
        )
    assert peak.mb < MAX_MB
    assert after - before < MAX_GROWTH_MB


@pytest.mark.parametrize(
    "n_users",
    [
        pytest.param(4, id="four"),
        pytest.param(20, id="twenty", marks=pytest.mark.slow),
    ],
)
def test_large_images_of_many_users_are_decoded_one_at_a_time(
    n_users, bundle_dir, tmp_path, capsys
):
    """PNG files of 12 megapixels, the largest images that are not reduced."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(n_users):
        coarse = rng.integers(0, 256, (3, 4, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((4000, 3000), Image.Resampling.NEAREST)
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        images.append([(f"{i}.png", file.getvalue())])
    with serve_app(bundle_dir, tmp_path) as server:
        with Peak(server) as alone:
            visit(server.url, images[0])
        with Peak(server) as peak:
            pages = visit_at_once(server.url, images)
    for i, (texts,) in enumerate(pages):
        assert escape_markdown(f"{i}.png") in texts and find_numbers(texts)
    with capsys.disabled():
        print(f"\n{alone.mb:.0f} MB for one, {peak.mb:.0f} MB for {n_users} at once")
    assert peak.mb < alone.mb + MAX_EXTRA_MB
