"""The report as a browser shows it, without a network. tests/install_browser installs what this needs.

Where there is no browser the tests are skipped, but for CI, which says SAILOR_EXP_BROWSER=required. Screenshots stay in
outputs/report/.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sailor_exp.profiles.check.comparison import COMPARED
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome
from tests.build.commands import ROOT
from tests.build.records import FORWARD_S, cell, measured, unmeasured
from tests.build.report_pages import prediction, report

SCREENSHOTS = ROOT / "outputs" / "report"
REQUIRED = os.environ.get("SAILOR_EXP_BROWSER") == "required"
PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")

CLIPPED = """
() => [...document.querySelectorAll('body *')].filter(one =>
  !one.closest('svg') && !one.matches('.scroll') && getComputedStyle(one).display !== 'inline'
  && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0).map(one => one.outerHTML.slice(0, 120))
"""
EMPTY = """
() => [...document.querySelectorAll('svg')].filter(one => one.checkVisibility()).map(one =>
  one.getBoundingClientRect()).filter(box => box.width < 5 || box.height < 5).length
"""
OUTSIDE = """
() => [...document.querySelectorAll('svg.chart text')].filter(one => {
  const text = one.getBoundingClientRect(), chart = one.closest('svg').getBoundingClientRect();
  return text.left < chart.left - 1 || text.right > chart.right + 1 || text.top < chart.top - 1
    || text.bottom > chart.bottom + 1;
}).map(one => one.textContent)
"""
OVERLAPPING = """
() => [...document.querySelectorAll('svg.chart')].flatMap(chart => {
  const texts = [...chart.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  return texts.flatMap(([first, a], index) => texts.slice(index + 1).filter(([_, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
  ).map(([second]) => `${first} | ${second}`));
})
"""
PALE = """
() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => parts(color).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = one => {
    for (let at = one; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor, alpha = parts(color)[3];
      if (alpha === undefined || alpha > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const contrast = one => {
    const style = getComputedStyle(one);
    const pair = [light(one.closest('svg') ? style.fill : style.color), light(ground(one))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  };
  return [...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && one.tagName !== 'title'
    && [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()))
    .filter(one => contrast(one) < 4.5).map(one => `${contrast(one).toFixed(1)} ${one.outerHTML.slice(0, 80)}`);
}
"""
"""Text whose contrast is below what WCAG 2 asks for (AA, 4.5)."""


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError:
        return _absent("playwright is not installed")
    found = next((path for program in PROGRAMS if (path := shutil.which(program))), None)
    with sync_playwright() as playwright:
        try:
            # Chromium's sandbox cannot be had as root.
            browser = playwright.chromium.launch(
                executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
        except Error as error:
            return _absent(f"no browser: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


def _absent(why: str) -> None:
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(f"{why}: tests/install_browser installs it")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid with every kind of ending, and predictions."""
    directory = tmp_path_factory.mktemp("small")
    for tp, mbs in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (2, 8)):
        faster = {kind: s * (0.5 + 0.6 / tp) for kind, s in FORWARD_S.items()}
        record_files.write(measured(cell(tp=tp, mbs=mbs), forward_s=faster), directory)
    ends = {(1, 4): Outcome.oom, (1, 8): Outcome.skipped, (4, 1): Outcome.infeasible, (4, 2): Outcome.failed}
    for (tp, mbs), outcome in ends.items():
        record_files.write(unmeasured(cell(tp=tp, mbs=mbs), outcome), directory)
    rows = tuple(
        prediction(quantity, tp=tp, mbs=mbs, error=0.01 * (index - 2))
        for tp, mbs in ((1, 1), (2, 2))
        for index, quantity in enumerate(COMPARED)
    )
    path = directory / "small.html"
    path.write_bytes(report(directory, checked=rows, error_limit=0.015))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred cells of a model whose layers differ, with a name and messages that are long."""
    directory = tmp_path_factory.mktemp("large")
    name = "a-model-with-a-name-that-is-longer-than-a-phone-is-wide-2.7"
    asked = ("model=gpt-neo-2.7", f"model.name={name}")
    of = measured(cell(*asked))
    for tp in (1, 2, 4, 8):
        for mbs in range(1, 26):
            identity = of.identity.model_copy(update={"tp": tp, "mbs": mbs})
            record_files.write(of.model_copy(update={"identity": identity}), directory)
    lost = unmeasured(cell(*asked, tp=1, mbs=26), Outcome.failed)
    ending = lost.ending.model_copy(update={"message": "RuntimeError:" + "x" * 200, "log": "/logs/" + "y" * 120})
    record_files.write(lost.model_copy(update={"ending": ending}), directory)
    path = directory / "large.html"
    path.write_bytes(report(directory, *asked))
    return path


LOOKS = [
    ("small", 1280, "light"),
    ("small", 1280, "dark"),
    ("small", 390, "light"),
    ("small", 390, "dark"),
    ("large", 1280, "light"),
    ("large", 390, "dark"),
]


@pytest.fixture(params=LOOKS, ids=lambda look: "-".join(map(str, look)))
def view(request: pytest.FixtureRequest, browser) -> Iterator[tuple]:
    """A page of some width and colours, in a browser without a network, and all that it asked for and complained of."""
    name, width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, seen = context.new_page(), []
    page.on("request", lambda asked: seen.append(asked.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    yield request.getfixturevalue(name), page, seen, f"{name}_{width}_{scheme}"
    context.close()


def test_the_report_is_readable_and_asks_for_nothing(view) -> None:
    path, page, seen, look = view
    page.goto(path.as_uri())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{look}.png", full_page=True)
    for folds in ("closed", "open"):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), folds
        for fault in (CLIPPED, OUTSIDE, OVERLAPPING, PALE):
            assert page.evaluate(fault) == [], folds
        assert page.evaluate(EMPTY) == 0, folds
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert seen == [path.as_uri()]


def test_printed_it_is_dark_on_white_whatever_the_screen_has(small: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 794, "height": 1123}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(small.as_uri())
    assert page.evaluate(PALE) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_what_is_pointed_at_tells_its_number(small: Path, browser) -> None:
    page = browser.new_page()
    page.goto(small.as_uri())
    mark = page.locator("svg.chart g[data-of=tp2-mbs4]").first
    assert mark.locator("title").text_content() == "tp 2, mbs 4: 11.2\N{NO-BREAK SPACE}ms ±1.0\N{NO-BREAK SPACE}%"
    page.close()


def test_a_cell_of_the_grid_leads_to_its_record(small: Path, browser) -> None:
    page = browser.new_page()
    page.goto(small.as_uri())
    page.locator("table.grid a").first.click()
    assert page.evaluate("document.querySelector(':target').innerText").startswith("tp=1 mbs=1")
    page.close()
