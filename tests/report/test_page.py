"""The report: its numbers are the score's, its images are small, and it is one file."""

import base64
import io
import itertools
import json
import re
import shutil
from html import unescape

import pytest
from PIL import Image

from kaggle_kit import cli
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError, TableError
from kaggle_kit.metrics.score import score
from kaggle_kit.report import section_gap
from kaggle_kit.report.images import SIDE, thumbnail
from kaggle_kit.report.page import report, report_if_possible
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.tables import Guess
from tests.helpers.complaints import check_complaint
from tests.helpers.html_elements import Elements

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def submission(competition, tmp_path_factory):
    """Guesses for the drawn images: half right, some wrong, some on images of none."""
    truths = tables.read_solution(competition / "solution.csv")
    known = sorted(set().union(*(t.landmark_ids for t in truths.values())))
    guesses = {}
    for i, image_id in enumerate(sorted(truths)):
        shown = sorted(truths[image_id].landmark_ids) or known
        landmark = shown[0] if i % 2 else known[i % len(known)]
        if i % 7:
            guesses[image_id] = Guess(landmark, 1 - i / 100)
    path = tmp_path_factory.mktemp("guesses") / "submission.csv"
    tables.write_submission(path, sorted(truths), guesses)
    return path


@pytest.fixture
def run(run_dir, tmp_path):
    """A run that a test may change, without the bundle of another."""
    return shutil.copytree(run_dir, tmp_path / "run")


def written(run, submission, truth, out, **options):
    """A report on guesses for the competition ``truth``; what it says and its text."""
    made = report(run, submission, truth / "solution.csv", out, **options)
    return made, out.read_text("utf-8")


def test_an_id_that_leads_out_shows_no_image_of_another_folder(
    run, submission, competition, bundle_dir, tmp_path
):
    """The third character of an id is a folder, and so is a slash: the root."""
    truth = tmp_path / "competition"
    truth.mkdir()
    (truth / "test").symlink_to(competition / "test")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.jpg")
    evil = f"..{tmp_path}/secret"
    assert image_path(truth / "test", evil).samefile(tmp_path / "secret.jpg")
    tables_of = {
        submission: f"{evil},7 1.0\n",
        competition / "solution.csv": f"{evil},8,Public\n",
    }
    for path, row in tables_of.items():
        (truth / path.name).write_text(path.read_text() + row)
    for guesses, solution in (
        (truth / "submission.csv", truth / "solution.csv"),
        (submission, truth / "solution.csv"),
        (truth / "submission.csv", competition / "solution.csv"),
    ):
        with pytest.raises(TableError, match="expected an image id") as caught:
            report(run, guesses, solution, tmp_path / "report.html", truth, bundle_dir)
        check_complaint(caught.value, truth / "submission.csv", truth / "solution.csv")
        assert not (tmp_path / "report.html").exists()


def text_of(page):
    return unescape(re.sub(r"<[^>]+>", "\n", page.split("<main>")[1]))


def test_gap_is_what_score_prints(run, submission, competition, tmp_path, capsys):
    solution = competition / "solution.csv"
    assert cli.main(["score", str(submission), str(solution), "--intervals"]) == 0
    printed = json.loads(capsys.readouterr().out)
    made, page = written(run, submission, competition, tmp_path / "r.html")
    (value, shown) = re.search(
        r'<data id="gap" value="(.*?)".*?>(.*?)</data>', page
    ).group(1, 2)
    assert float(value) == printed["gap"] == made.gap and 0.1 < made.gap < 0.9
    assert shown == f"{printed['gap']:.4f}"
    low, high = printed["interval"]["gap"]
    assert f"95% interval {low:.4f} to {high:.4f}" in text_of(page)


def test_the_parts_on_the_page_add_up_to_one(run, submission, competition, tmp_path):
    made, page = written(run, submission, competition, tmp_path / "r.html")
    body = re.search(r"GAP and its losses.*?<tbody>(.*?)</tbody>", page)[1]
    rows = re.findall(r'<td class="n" data-value="(.*?)"', body)
    earned, *losses = [float(value) for value in rows[0:-1:2]]
    assert earned == made.gap
    assert earned + sum(losses) == pytest.approx(1)
    assert float(rows[-1]) == pytest.approx(1)


def test_the_page_is_one_file_that_asks_for_nothing(
    run, submission, competition, tmp_path
):
    folder = tmp_path / "there"
    _, page = written(
        run, submission, competition, folder / "r.html", competition=competition
    )
    assert [path.name for path in folder.iterdir()] == ["r.html"]
    found = Elements(page).tags
    for _, attributes in found:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not {"link", "iframe", "object"} & {name for name, _ in found}
    assert "url(" not in page and "@import" not in page
    levels = [int(level) for level in re.findall(r"<h([1-6])>", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all('alt="' in image for image in re.findall(r"<img[^>]*>", page))


def test_its_images_are_small_and_bounded(run, submission, competition, tmp_path):
    made, page = written(
        run, submission, competition, tmp_path / "r.html", competition=competition
    )
    images = re.findall(r"data:image/jpeg;base64,([^\"]*)", page)
    assert 8 <= len(images) <= 12
    for data in images:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert max(image.size) <= SIDE
    assert made.megabytes < 1.5


def test_names_and_ids_are_harmless(run, submission, competition, tmp_path):
    copy = tmp_path / "competition"
    copy.mkdir()
    for name in ("train.csv", "solution.csv"):
        shutil.copyfile(competition / name, copy / name)
    for name in ("train", "test"):
        (copy / name).symlink_to(competition / name)
    truths = tables.read_solution(copy / "solution.csv")
    ids = sorted(set().union(*(t.landmark_ids for t in truths.values())))
    rows = [(i, EVIL) for i in ids]
    write_rows(copy / "landmarks.csv", ("landmark_id", "name"), rows)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"name": EVIL}))
    _, page = written(run, submission, copy, tmp_path / "r.html", competition=copy)
    assert page.count("<script>") == 1 and page.count("</script>") == 1
    assert EVIL in text_of(page)


def test_images_that_are_not_there_are_frames(run, submission, competition, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    _, page = written(
        run, submission, competition, tmp_path / "r.html", competition=folder
    )
    assert "no file, or it does not decode" in page
    assert re.search(r"Of \d+ images without a guess, \d+ have no file", text_of(page))


def test_the_misleading_image_is_the_nearest_of_the_landmark(
    bundle_dir, submission, competition, tmp_path
):
    from kaggle_kit.inference.recogniser import Recogniser
    from kaggle_kit.report.losses import image_losses, worst

    _, page = written(
        bundle_dir,
        submission,
        competition,
        tmp_path / "r.html",
        competition=competition,
    )
    guesses = tables.read_submission(submission)
    truths = tables.read_solution(competition / "solution.csv")
    bundle = Recogniser.load(bundle_dir)
    gallery = bundle.gallery
    shown = re.findall(r"<li>(.*?)</li>", page)
    for item, (image_id, row) in zip(
        shown, worst(image_losses(guesses, truths), 12).iterrows(), strict=True
    ):
        path = image_path(competition / "test", image_id)
        vector = bundle.embedder.embed([path]).vectors[0]
        assert image_id in item
        for landmark in {row["guess"], row["landmark"]} - {-1}:
            cosines = {
                gallery.image_ids[i]: float(gallery.vectors[i].astype("f4") @ vector)
                for i in range(len(gallery.image_ids))
                if gallery.landmark_ids[i] == landmark
            }
            nearest = max(cosines, key=cosines.__getitem__)
            assert f"{nearest}, cosine {cosines[nearest]:.3f}" in unescape(item)


def test_runs_are_told_apart_and_what_changed_sides_is_listed(
    run, submission, competition, tmp_path
):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    config = json.loads((other / "config.json").read_text())
    config["train"]["epochs"] = 5
    (other / "config.json").write_text(json.dumps(config | {"name": "longer"}))
    solution = tables.read_solution(competition / "solution.csv")
    here = tables.read_submission(submission)
    there = {i: guess for i, guess in here.items() if guess}
    right = [i for i in there if there[i].landmark_id in solution[i].landmark_ids]
    lost = right[:3]
    for image_id in lost:
        there[image_id] = Guess(999, there[image_id].confidence)
    tables.write_submission(other / "submission.csv", list(here), there)
    _, page = written(
        run, submission, competition, tmp_path / "r.html", against=[other, other]
    )
    text = text_of(page)
    assert text.count("Against longer") == 2
    assert "3 images are right only here, 0 only there." in text
    gaps = [
        score(path, competition / "solution.csv").gap
        for path in (submission, other / "submission.csv")
    ]
    assert f"{gaps[0] - gaps[1]:+.4f}" in text
    section = page.split("Against longer")[1].split("</section>")[0]
    assert "train.epochs" in section and all(i in section for i in lost)


def test_what_is_missing_is_said_and_not_an_error(submission, competition, tmp_path):
    empty = tmp_path / "nothing"
    empty.mkdir()
    _, page = written(empty, submission, competition, tmp_path / "r.html")
    assert "Report: nothing" in page
    assert "There is no config.json." in page and "no history.csv" in page


def test_folders_that_are_none_are_named(run, submission, competition, tmp_path):
    solution, out = competition / "solution.csv", tmp_path / "r.html"
    with pytest.raises(ArtefactError, match="check --run"):
        report(tmp_path / "no", submission, solution, out)
    with pytest.raises(ArtefactError, match=r"expected submission\.csv"):
        report(run, submission, solution, out, against=[run])
    (run / "environment.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"environment\.json: expected JSON"):
        report(run, submission, solution, out)
    assert report_if_possible(run, submission, solution, out) is None
    assert not out.exists()


def test_a_competition_without_landmarks_has_a_page(tmp_path):
    for name in ("submission", "solution"):
        (tmp_path / f"{name}.csv").write_text("id,landmarks\nabc0,\nabc1,\n")
    (tmp_path / "submission.csv").write_text("id,landmarks\nabc0,7 0.5\nabc1,\n")
    folder, out = tmp_path, tmp_path / "r.html"
    made = report(folder, tmp_path / "submission.csv", tmp_path / "solution.csv", out)
    assert made.gap is None
    assert "Not defined: no image shows a landmark." in out.read_text("utf-8")


def test_a_perfect_submission_has_a_page(tmp_path):
    (tmp_path / "s.csv").write_text("id,landmarks\nabc0,7 0.5\n")
    (tmp_path / "t.csv").write_text("id,landmarks\nabc0,7\n")
    out = tmp_path / "r.html"
    assert report(tmp_path, tmp_path / "s.csv", tmp_path / "t.csv", out).gap == 1
    assert "There are none." in out.read_text("utf-8")


def test_a_run_without_a_bundle_knows_the_landmarks_of_its_classes(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "classes.csv").write_text("class,landmark_id,n_images\n0,7,5\n")
    (tmp_path / "s.csv").write_text("id,landmarks\nabc0,7 0.5\nabc1,7 0.4\n")
    (tmp_path / "t.csv").write_text("id,landmarks\nabc0,7\nabc1,8\n")
    out = tmp_path / "r.html"
    report(run, tmp_path / "s.csv", tmp_path / "t.csv", out)
    text = text_of(out.read_text("utf-8"))
    assert "not in the bundle: 1, of which 0 are right" in text
    assert "landmark 8, not in the bundle" in text


def test_the_caption_of_a_learning_curve_names_what_is_drawn(tmp_path):
    for columns, splits in (
        ("loss", "training"),
        ("loss,val_loss", "training and vali"),
    ):
        (tmp_path / "history.csv").write_text(
            f"epoch,{columns}\n{'1,2,3' if ',' in columns else '1,2'}\n"
        )
        (tmp_path / "s.csv").write_text("id,landmarks\nabc0,7 0.5\n")
        (tmp_path / "t.csv").write_text("id,landmarks\nabc0,7\n")
        report(tmp_path, tmp_path / "s.csv", tmp_path / "t.csv", tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text("utf-8")
        (caption,) = re.findall("<figcaption>(Loss of .*?)</figcaption>", page)
        assert caption.startswith(f"Loss of {splits}")
        assert ("validation" in caption) == ("val_loss" in columns)


def test_a_long_table_by_landmark_says_how_many_of_them_it_shows(tmp_path, monkeypatch):
    """Images of no landmark have a row besides."""
    monkeypatch.setattr(section_gap, "LANDMARKS", 3)
    for n, limit in ((3, ""), (5, ", the 3 with the highest loss")):
        truths = "".join(f"abc{i},{i}\n" for i in range(n))
        guesses = truths.replace("\n", " 0.5\n")
        (tmp_path / "s.csv").write_text(f"id,landmarks\n{guesses}abc9,\n")
        (tmp_path / "t.csv").write_text(f"id,landmarks\n{truths}abc9,\n")
        report(tmp_path, tmp_path / "s.csv", tmp_path / "t.csv", tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text("utf-8")
        caption = f"<caption>{n} landmarks{limit}</caption>"
        table = page.split(caption)[1].split("</table>")[0]
        assert table.count('scope="row"') == 4 and "Not a landmark" in table


def test_a_thumbnail_is_upright_and_keeps_nothing_of_the_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    exif[0x013B] = "the imagegrapher"
    path = tmp_path / "image.jpg"
    Image.new("CMYK", (1200, 400)).save(path, exif=exif)
    data = thumbnail(path)
    with Image.open(io.BytesIO(data)) as small:
        assert small.size[0] < small.size[1] == SIDE
        assert not small.getexif() and small.mode == "RGB"
    assert b"imagegrapher" not in data
    path.write_text("not an image")
    assert thumbnail(path) is None
