"""Many people at once: each reads the answer for their own photo, in bounded memory."""

import io
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Event, Thread

import numpy as np
import psutil
import pytest
from PIL import Image

from kaggle_kit.app.text import plain
from kaggle_kit.data.layout import image_path
from kaggle_kit.storage import tables
from tests.helpers.asked import asked
from tests.helpers.served_app import app

if not all(map(find_spec, ("streamlit", "ai_edge_litert", "websockets"))):
    pytest.skip("the extra 'app' is not installed", allow_module_level=True)

from tests.helpers.people import confidence, visit

MOST_MB = 400  # of the whole process
MORE_MB = 120  # for many than for one; twenty that decode by themselves take 320
LEFT_MB = 80  # more than before they came; Streamlit keeps pages for two minutes


def rss_mb(server):
    return psutil.Process(server.process.pid).memory_info().rss / 1e6


class Peak:
    """The most memory of an app while something goes on."""

    def __init__(self, server):
        self.server, self.mb, self._over = server, 0.0, Event()
        self._thread = Thread(target=self._watch)

    def _watch(self):
        while not self._over.wait(0.02):
            self.mb = max(self.mb, rss_mb(self.server))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def at_once(url, photos_of):
    """What each person is shown, all of whom come at the same time."""
    with ThreadPoolExecutor(len(photos_of)) as pool:
        return list(pool.map(lambda photos: visit(url, photos), photos_of))


def expected_lines(bundle, paths):
    """The line with the numbers of each photo's answer, by its name; all differ."""
    lines: dict[str, str] = {}
    for path, said in zip(paths, asked(bundle, paths)["answers"], strict=True):
        best = said["candidates"][0]["confidence"]
        margin = "none" if said["margin"] is None else f"{said['margin']:.3f}"
        line = (
            f"C of your photo: {said['c']:.3f}. Confidence: {best:.3f}. Margin to the "
            f"next landmark: {margin}."
        )
        if line not in lines.values():
            lines[path.name] = line
    return lines


@pytest.mark.parametrize(
    ("n_people", "rounds"),
    [
        pytest.param(20, 1, id="once"),
        pytest.param(20, 50, id="often", marks=pytest.mark.slow),
    ],
)
def test_each_reads_the_own_answer(
    n_people, rounds, local, competition, tmp_path, capsys
):
    """Photos of nobody else are on the page; the numbers are those of one alone.

    Points are compared, too; a network that has learnt nothing says the same of all.
    """
    bundle_dir = local[0] / "bundle"
    ids = [label.image_id for label in tables.read_labels(competition / "train.csv")]
    paths = [image_path(competition / "train", image_id) for image_id in ids]
    lines = expected_lines(bundle_dir, paths)
    names = list(lines)
    data = {path.name: path.read_bytes() for path in paths}
    assert len(names) >= n_people
    turns = [
        [names[(i + n_people * k) % len(names)] for k in range(rounds)]
        for i in range(n_people)
    ]
    with app(bundle_dir, tmp_path, "--photos", competition) as server:
        visit(server.url, [(names[0], data[names[0]])])
        before = rss_mb(server)
        with Peak(server) as peak:
            shown = at_once(server.url, [[(n, data[n]) for n in own] for own in turns])
        after = rss_mb(server)
    for own, pages in zip(turns, shown, strict=True):
        for name, texts in zip(own, pages, strict=True):
            assert confidence(texts) == lines[name]
            assert [n for n in names if plain(n) in texts] == [name]
    with capsys.disabled():
        print(
            f"\n{n_people} people, {n_people * rounds} answers: {before:.0f} MB before, "
            f"{peak.mb:.0f} MB at most, {after:.0f} MB after"
        )
    assert peak.mb < MOST_MB
    assert after - before < LEFT_MB


@pytest.mark.parametrize(
    "n_people",
    [
        pytest.param(4, id="four"),
        pytest.param(20, id="twenty", marks=pytest.mark.slow),
    ],
)
def test_large_photos_of_many_are_decoded_one_at_a_time(
    n_people, bundle_dir, tmp_path, capsys
):
    """Each of 12 megapixels, as large as any that cannot be decoded smaller."""
    rng = np.random.default_rng(0)
    photos = []
    for i in range(n_people):
        coarse = rng.integers(0, 256, (3, 4, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((4000, 3000), Image.Resampling.NEAREST)
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        photos.append([(f"{i}.png", file.getvalue())])
    with app(bundle_dir, tmp_path) as server:
        with Peak(server) as alone:
            visit(server.url, photos[0])
        with Peak(server) as peak:
            shown = at_once(server.url, photos)
    for i, (texts,) in enumerate(shown):
        assert plain(f"{i}.png") in texts and confidence(texts)
    with capsys.disabled():
        print(f"\n{alone.mb:.0f} MB for one, {peak.mb:.0f} MB for {n_people} at once")
    assert peak.mb < alone.mb + MORE_MB
