"""The page in a real browser."""

import json
from pathlib import Path

import pytest
from PIL import Image

from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.predict import predict
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from tests.helpers.app_files import bad_files, good_files
from tests.helpers.browsing import upload_files, wait_until_drawn
from tests.helpers.served_app import serve_app

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# Streamlit's own elements, which a page cannot change.
SHELL = ("stToolbar", "stHeader", "stMainMenu", "stDecoration", "stStatusWidget")


@pytest.fixture
def page(browser, served):
    """A new page of desktop size."""
    page = browser.new_page(viewport=dict(zip(("width", "height"), SIZES["desktop"])))
    page.goto(served[0].url)
    page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def guesses(bundle_dir, competition, tmp_path_factory):
    """The guesses of the kernel for the test images."""
    out = tmp_path_factory.mktemp("guesses") / "submission.csv"
    predict(bundle_dir, competition, out)
    return tables.read_submission(out)


def test_an_image_gets_the_answer_of_the_kernel(page, guesses, competition):
    image_id, guess = next(iter(guesses.items()))
    text = upload_files(page, image_path(competition / "test", image_id))
    assert f"landmark {guess.landmark_id}" in text
    assert "to be right" in text or "Confidence" in text
    assert "Most similar images of the gallery" in text
    page.get_by_text("Why", exact=True).click()
    page.get_by_text("C of your image").wait_for()
    assert f"Confidence: {guess.confidence:.3f}" in page.inner_text("body")


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_of_file_is_answered_or_refused(
    size, browser, served, competition, tmp_path
):
    files = Competition(competition)
    path = image_path(files.test_dir, tables.read_sample(files.sample_csv)[0])
    with Image.open(path) as image:
        good, bad = good_files(image.convert("RGB")), bad_files(image.convert("RGB"))
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(served[0].url)
    page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
    for name, data in good.items():
        (tmp_path / name).write_bytes(data)
    text = upload_files(page, *(tmp_path / name for name in good))
    assert (
        text.count("Most similar images") == len(good)
        and "expected an image" not in text
    )
    check_layout(page)
    page.reload()
    page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
    del bad["empty.jpg"]  # a browser does not upload an empty file
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    text = upload_files(page, *(tmp_path / name for name in bad))
    for name, (_, message) in bad.items():
        assert message in text, name
    assert "Traceback" not in text and "Most similar images" not in text
    check_layout(page)
    page.close()


def check_layout(page):
    """Check that nothing is wider than the window, and no text is clipped."""
    assert page.evaluate(
        "document.scrollingElement.scrollWidth <= window.innerWidth + 1"
    )
    clipped = page.evaluate(
        """[...document.querySelectorAll('[data-testid=stMain] p, h1, h4, h5, li, td')]
        .filter(e => e.scrollWidth > e.clientWidth + 2 && e.clientWidth
                && getComputedStyle(e).overflowX !== 'visible')
        .map(e => e.innerText)"""
    )
    assert clipped == []


def test_no_upload_is_written_to_disk(page, served, competition):
    _, folder = served
    files = Competition(competition)
    image = image_path(files.test_dir, tables.read_sample(files.sample_csv)[1])
    content = image.read_bytes()
    upload_files(page, image)
    for path in folder.rglob("*"):
        if path.is_file():
            assert content[:2000] not in path.read_bytes(), path
    assert not any(path.is_file() for path in (folder / "tmp").rglob("*"))


def test_the_page_sends_no_request_to_another_server(browser, served, competition):
    page = browser.new_page()
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(served[0].url)
    page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
    files = Competition(competition)
    image_id = tables.read_sample(files.sample_csv)[2]
    upload_files(page, image_path(files.test_dir, image_id))
    page.close()
    own = (served[0].url, "data:", "blob:")
    assert len(urls) > 10
    assert [url for url in urls if not url.startswith(own)] == []


def test_an_example_is_answered(page):
    page.get_by_label("Or pick an example").click()
    page.get_by_role("option", name="Example 2").click()
    page.get_by_text("Most similar images").wait_for(timeout=60_000)
    assert page.get_by_role("heading", name="Example 2").is_visible()


def test_an_image_of_the_camera_is_answered(browser, served):
    """With the test video that Chromium shows in place of a camera's."""
    with browser.new_context(permissions=["camera"]) as context:
        page = context.new_page()
        page.goto(served[0].url)
        page.get_by_text("Use the camera").click()
        is_playing = "document.querySelector('video')?.currentTime > 0"
        page.wait_for_function(is_playing, timeout=60_000)
        page.get_by_role("button", name="Take Photo").click()
        page.get_by_role("heading", name="Your camera").wait_for(timeout=60_000)
        page.get_by_text("C of your image").wait_for(state="attached", timeout=60_000)


def test_authors_and_points_that_match_are_shown(browser, local, rerun, tmp_path):
    """With a bundle that has geometry; an image of its gallery matches itself."""
    labels = list(tables.read_labels(local[0] / "bundle" / "gallery" / "gallery.csv"))
    image_id = labels[0].image_id
    url = f"https://example.org/{image_id}"
    write_rows(
        rerun / "train_attribution.csv",
        ("id", "url", "author", "license", "title"),
        [(image_id, url, "A. <b>Author", "CC", "T")],
    )
    build_bundle([local[0] / "run"], rerun, tmp_path / "bundle")
    with serve_app(tmp_path / "bundle", tmp_path, "--photos", rerun) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.locator("input[type=file]").first.wait_for(state="attached")
        upload_files(page, image_path(rerun / "train", image_id))
        link = page.get_by_role("link", name="T, A. <b>Author, CC").first
        assert link.get_attribute("href") == url
        page.get_by_text("Points that match the image of").click()
        page.get_by_role("img", name="Your image on the left").wait_for()
        page.get_by_text("3 is certain").wait_for()
        page.close()


def test_the_tab_of_the_model_shows_its_scores(page, bundle_dir):
    page.get_by_role("tab", name="The model").click()
    page.get_by_text("GAP at export, validation").wait_for()
    manifest = json.loads((bundle_dir / "kit-manifest.json").read_text("utf-8"))
    text = page.inner_text('[data-testid="stMain"]')
    assert f"{manifest['validation']['gap']:.4f} on" in text
    assert "MB" in text and "landmarks" in text


ON_UPLOADER = (
    "Boolean(document.activeElement.closest('[data-testid=stFileUploader] button'))"
)


def focus_uploader(page):
    """Press the Tab key until the uploader has the focus."""
    for _ in range(12):
        if page.evaluate(ON_UPLOADER):
            return
        page.keyboard.press("Tab")
    assert page.evaluate(ON_UPLOADER)


def test_the_page_can_be_used_with_the_keyboard_alone(page):
    """From the top of the page to the uploader, and to the tab of the model.

    A page that is redrawn may lose a key press, so the test repeats it.
    """
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    for _ in range(5):
        wait_until_drawn(page)
        focus_uploader(page)
        page.keyboard.press("Enter")
        page.wait_for_timeout(2_000)
        if choosers:
            break
    assert choosers
    page.get_by_role("tab", name="Recognise").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("GAP at export, validation").wait_for(timeout=10_000)


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious(size, browser, served, competition):
    """WCAG 2 A and AA, contrast included, for the elements of the page itself."""
    axe = pytest.importorskip("axe_playwright_python")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text("utf-8")
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(served[0].url)
    page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
    files = Competition(competition)
    image_id = tables.read_sample(files.sample_csv)[0]
    upload_files(page, image_path(files.test_dir, image_id))
    page.get_by_text("Why", exact=True).click()
    page.get_by_text("C of your image").wait_for()
    page.evaluate(script)
    violations = []
    for tab in ("Recognise", "The model"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
        result = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa']})")
        violations += [
            (rule["id"], node["html"][:200])
            for rule in result["violations"]
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
            if not any(name in str(node["target"]) + node["html"] for name in SHELL)
        ]
    page.close()
    assert violations == []
