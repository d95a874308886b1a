"""The page in a browser, opened from its file: nothing is asked for, and it can be used."""

import pytest

from kaggle_kit.metrics.score import score
from kaggle_kit.report.dataset_page import write_dataset_page
from kaggle_kit.report.page import report
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess

WIDTHS = {"desktop": 1200, "phone": 360}
# What falls short of a contrast of 4.5, with the nearest ground behind it.
CONTRAST = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script")) continue;
    let ground = element;
    const of = (e) => getComputedStyle(e).backgroundColor;
    while (ground && /, 0\\)$/.test(of(ground))) ground = ground.parentElement;
    const [a, b] = [getComputedStyle(element).color, of(ground)].map(light).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(walker.currentNode.data);
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def pages(competition, run_dir, tmp_path_factory):
    """A report, a sheet, and the GAP that the report is of."""
    folder = tmp_path_factory.mktemp("pages")
    truths = tables.read_solution(competition / "solution.csv")
    known = sorted(set().union(*(t.landmark_ids for t in truths.values())))
    guesses = {
        image_id: Guess(known[i % len(known)], 1 - i / 100)
        for i, image_id in enumerate(sorted(truths))
    }
    submission, solution = folder / "submission.csv", competition / "solution.csv"
    tables.write_submission(submission, sorted(truths), guesses)
    report(run_dir, submission, solution, folder / "report.html", competition)
    from kaggle_kit.data.index import index

    index(competition, folder / "index.csv")
    write_dataset_page(competition, folder / "index.csv")
    found = {"report": folder / "report.html", "sheet": folder / "index.report.html"}
    return found, score(submission, solution).gap


@pytest.fixture
def opened(browser, pages):
    """Open a page at some width; requests and complaints are kept."""
    contexts = []

    def open_page(name, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(pages[0][name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["report", "sheet"])
def test_nothing_leaves_the_page(opened, pages, name):
    page = opened(name)
    page.mouse.wheel(0, 100_000)
    page.wait_for_load_state("networkidle")
    own = pages[0][name].as_uri()
    assert own in page.asked
    assert [
        url for url in page.asked if url != own and not url.startswith("data:")
    ] == []
    assert page.said == []
    broken = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert page.evaluate("document.images.length") > 5
    assert page.evaluate(broken) == 0


def test_gap_is_read_on_the_page(opened, pages):
    shown = opened("report").locator("#gap")
    assert shown.inner_text() == f"{pages[1]:.4f}"
    assert float(shown.get_attribute("value")) == pages[1]


def test_the_table_sorts_by_mouse_and_by_keyboard(opened):
    page = opened("report")
    table = page.locator("table.sortable").first
    recalls = "(rows) => rows.map((row) => row.cells[3].dataset.value)"

    def column():
        values = table.locator("tbody tr").evaluate_all(recalls)
        return [float(value) for value in values if value], values

    head = table.locator("thead th", has_text="Recall")
    head.locator("button").click()
    down, every = column()
    assert head.get_attribute("aria-sort") == "descending"
    assert down == sorted(down, reverse=True) and len(set(down)) > 1
    assert every[-1] == ""  # what has none stays last
    head.locator("button").press("Enter")
    up, every = column()
    assert head.get_attribute("aria-sort") == "ascending"
    assert up == sorted(down) and every[-1] == ""
    name = table.locator("thead th", has_text="Landmark")
    name.locator("button").click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names, key=str.lower)


def test_it_can_be_read_without_a_script(opened):
    page = opened("report", java_script_enabled=False)
    assert page.locator("table.sortable tbody tr").count() > 3
    assert page.locator("thead button").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "sheet"])
def test_nothing_is_wider_than_the_screen(opened, name, width):
    page = opened(name, viewport={"width": WIDTHS[width], "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "sheet"])
def test_text_stands_out_from_its_ground(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate(CONTRAST) == []
    hidden = f"document.querySelector('h1').style.color = '{ground}'"
    page.evaluate(hidden)
    assert page.evaluate(CONTRAST) == [page.title()]  # it would have been seen
