"""The report's page in a real browser, as a reader has it: offline, sorted, filtered, dark, on a phone, on paper."""

import pytest
from finished_studies import finished_study, grid

from biformer_lit.cli import main
from biformer_lit.sweep.results.trial_table import read_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "study"
    finished_study(
        folder,
        factors=grid(9), baseline={"a": "a0", "b": "b0"}, seeds=[0, 1, 2], epochs=5, failed=[("a=a1,b=b1", 2)],
    )  # fmt: skip
    main(["sweep", "report", str(folder)])
    return folder


@pytest.fixture
def opened(browser, folder):
    """Opens the page; at the end nothing was asked of anybody, and nothing went wrong."""
    pages, problems, asked = [], [], []

    def visit(**options):
        page = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}).new_page()
        pages.append(page)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / "report/report.html").as_uri())
        for chart in page.locator(".chart").all():
            chart.locator(".main-svg").first.wait_for(state="attached", timeout=60_000)
        return page

    yield visit
    for page in pages:
        page.context.close()
    assert not problems
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(pages)


def column(page, number):
    """Texts of a column of the main table, as they stand on the screen."""
    return page.eval_on_selector_all(
        "#cells tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{number}].textContent)"
    )


def test_every_chart_is_drawn(opened):
    page = opened()
    drawn = page.eval_on_selector_all(
        ".chart", "all => all.map(one => [one.id, one.querySelectorAll('.trace').length])"
    )
    assert {name for name, _ in drawn} == {
        "differences", "objective_macs", "objective_throughput", "learning_curves", "main_effects", "interactions",
    }  # fmt: skip
    assert all(traces > 0 for _, traces in drawn)


def test_sorting_with_the_keyboard(opened, folder):
    frame = read_results(folder)
    means = frame[frame["status"] == "complete"].groupby("cell")["objective"].mean().sort_values()
    page = opened()
    button = page.locator("#cells thead th:nth-child(2) button")
    button.focus()
    page.keyboard.press("Enter")
    assert column(page, 0) == list(means.index)
    assert page.locator("#cells thead th:nth-child(2)").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert column(page, 0) == list(means.index)[::-1]


def test_what_is_missing_is_sorted_to_the_end(opened):
    page = opened()
    button = page.locator("#cells thead th:nth-child(4) button")  # the baseline has no difference to itself
    for _ in range(2):
        button.click()
        assert column(page, 0)[-1] == "a=a0,b=b0"


def test_filtering(opened):
    page = opened()
    assert len(column(page, 0)) == 9
    page.select_option("select[name=a]", "a1")
    assert column(page, 0) == ["a=a1,b=b0", "a=a1,b=b1", "a=a1,b=b2"]
    assert page.text_content("#count") == "3 of 9 cells"
    faint = page.evaluate(
        "[...document.getElementById('objective_macs').data[1].marker.opacity].filter(value => value < 1).length"
    )
    assert faint == 5  # of the eight that are not the baseline
    page.fill("input[name=text]", "B2")
    assert column(page, 0) == ["a=a1,b=b2"]
    page.click("button[type=reset]")
    page.get_by_text("9 of 9 cells").wait_for()


def test_what_failed_is_on_the_page(opened):
    page = opened()
    assert "a=a1,b=b1 seed 2: failed: nan" in page.text_content("main")
    assert "2/3" in column(page, 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(opened, scheme):
    page = opened(color_scheme=scheme)
    back, front = (
        sum(int(part) for part in page.evaluate(f"getComputedStyle(document.body).{name}")[4:-1].split(",")[:3])
        for name in ("backgroundColor", "color")
    )
    assert (back < front) == (scheme == "dark")
    ink = page.evaluate("getComputedStyle(document.querySelector('.chart .xtick text')).fill")
    assert (sum(int(part) for part in ink[4:-1].split(",")[:3]) > 380) == (scheme == "dark")


def test_a_phone_needs_no_scrolling_sideways(opened):
    page = opened(viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_paper_the_whole_table_is_there(opened):
    page = opened()
    page.emulate_media(media="print")
    wide = page.locator("#cells").locator("xpath=..")
    assert wide.evaluate("one => getComputedStyle(one).overflow") == "visible"
    assert not page.locator("form.filter").is_visible()
    assert len(page.pdf()) > 10_000


def test_a_screen_reader_has_names_for_everything(opened):
    page = opened()
    named = page.eval_on_selector_all(
        ".chart", "all => all.every(one => document.getElementById(one.getAttribute('aria-labelledby'))?.textContent"
        " && document.getElementById(one.getAttribute('aria-describedby'))?.textContent)"
    )  # fmt: skip
    assert named
    assert page.eval_on_selector_all("input, select", "all => all.every(one => one.labels.length > 0)")
    assert page.eval_on_selector_all("img", "all => all.every(one => one.alt)")
    assert page.get_attribute("html", "lang") == "en"
