"""The page in a browser, made of the files of a tiny pipeline."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from graph import ROOT
from safetensors.numpy import load_file, save_file
from tiny import tiny_params

from timemachine.base import config
from timemachine.base.errors import UserError
from timemachine.pipeline.params import Params
from timemachine.pipeline.times import StageTime
from timemachine.report import facts
from timemachine.report.command import write_report
from timemachine.report.page import make_page
from timemachine.retraining.history import Round

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

PARAMS = config.validate(Params, tiny_params(), "params.yaml")
ATTACK = "</script><script>document.title = 'broken'</script>"
ROUNDS = [
    Round("2026-11-20T04:00:00+00:00", "promoted", "1", 1.8, None, 1.84, "1", "first", 0, 20.0, "a", ""),
    Round("2026-11-21T04:00:00+00:00", "promoted", "2", 1.7, 1.8, 1.84, "2", ATTACK, 1, 21.0, "b", ""),
    Round("2026-11-22T04:00:00+00:00", "rejected", "3", 1.75, 1.7, 1.84, "2", "worse", 1, 21.0, "c", ""),
    Round("2026-11-23T04:00:00+00:00", "rolled back", "1", None, 1.8, None, "1", "by hand", None, None, "d", ""),
]


@pytest.fixture(scope="module")
def report(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with everything in it; texts from outside try to run a script."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(finished / "data", folder / "data")
    for file in (finished / "params.yaml", ROOT / "dvc.yaml"):
        shutil.copy(file, folder)
    (folder / "data/generated/carried.txt").write_text(f"the time{ATTACK}\n")
    found = facts.gather(folder, ROUNDS, "", [("runs", "http://127.0.0.1:5000/"), ("bad", "javascript:alert(1)")])
    found = found._replace(
        times=[("train_rnn@e1_concise_sequential", StageTime("2026-11-20T04:00:00+00:00", 90.0))],
        params=[("train_rnn.gated.seed", "0", ATTACK)],
        summary=json.loads((folder / "data/reports/summary.json").read_text()) | {"test_bpc": 99.0},
    )
    page, missing = make_page(PARAMS, folder / "data", found._asdict())
    assert missing == []
    (folder / "report.html").write_text(page)
    return folder / "report.html"


@pytest.fixture
def opened(page: "Page", report: Path) -> Iterator["Page"]:
    """The page in the browser. Nothing but the file itself may be requested."""
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]


def column(page: "Page", number: int) -> list[str]:
    return [text.strip() for text in page.locator(f"#ranking tbody tr > :nth-child({number})").all_inner_texts()]


def test_a_click_on_a_heading_sorts_and_a_second_one_sorts_the_other_way(opened: "Page") -> None:
    by_rank = column(opened, 2)
    assert {"gated", "arithmetic", "uniform", "ppmd", "kneser_ney_3_adaptive"} <= set(by_rank)
    heading = opened.locator("#ranking th", has_text="Model")
    for order in ("ascending", "descending"):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert column(opened, 2) == sorted(by_rank, reverse=order == "descending")
    opened.get_by_role("button", name="Validation").click()
    scores = [float(text.replace("∞", "inf")) for text in column(opened, 5)]
    assert scores == sorted(scores)


def test_curves_are_switched_off_and_on_and_read_at_an_epoch(opened: "Page") -> None:
    lines = opened.locator("#chart path.line")
    assert lines.count() == 5  # three of the train part, two of validation
    opened.locator("#switches").get_by_role("button", name="windowed").click()
    assert set(lines.evaluate_all("all => all.map((one) => one.dataset.curve)")) == {"carried", "gated"}
    opened.get_by_role("button", name="None", exact=True).click()
    assert lines.count() == 0
    opened.get_by_role("button", name="All", exact=True).click()
    opened.locator("#log-epochs").click()
    opened.locator("#chart svg").hover()
    assert "carried" in opened.locator("#values").inner_text()


def test_each_character_is_coloured_by_its_bits_and_by_the_difference_of_two_models(
    opened: "Page", finished: Path
) -> None:
    gated = load_file(finished / "data/scores/rnn/gated.safetensors")["val"][7] / np.log(2)
    mixed = load_file(finished / "data/mixtures.safetensors")["arithmetic.val"][7] / np.log(2)
    opened.select_option("#part", "val")
    opened.select_option("#model-a", "gated")
    character = opened.locator("#held-out span").nth(7)
    character.hover()
    shown = opened.locator("#readout")
    assert f"{gated:.3f} bits" in shown.inner_text()
    assert character.get_attribute("class") == f"q{sum(gated >= np.array([0.25, 0.5, 1, 2, 3, 5, 8]))} chosen"
    opened.select_option("#model-b", "arithmetic")
    assert f"{mixed:.3f} bits" in shown.inner_text()
    difference = round(gated, 3) - round(mixed, 3)
    assert f"{difference:+.3f} bits".replace("-", "−") in shown.inner_text()
    size = sum(abs(difference) >= np.array([0.25, 0.5, 1, 3]))
    assert character.get_attribute("class").split()[0] == (
        f"{'a' if difference < 0 else 'b'}{size}" if size else "q0"
    )
    opened.locator("#held-out").press("ArrowRight")
    assert "character 9 of" in shown.inner_text()


def test_texts_from_files_params_and_mlflow_are_shown_and_not_run(opened: "Page") -> None:
    assert opened.title() == "timemachine: report"
    for section in ("#texts", "#pipeline", "#rounds"):
        assert ATTACK in opened.locator(section).inner_text()
    assert opened.locator("script").count() == 2
    assert opened.locator("a[href^=javascript]").count() == 0


def test_the_overview_and_the_rounds_say_what_changed_and_who_is_champion(opened: "Page") -> None:
    assert "(better)" in opened.locator(".tile").first.inner_text()
    assert "Version 1 is served since 2026-11-23" in opened.locator("#rounds").inner_text()
    assert "train_rnn ×3" in opened.locator(".graph").inner_text()
    assert opened.locator(".history g.promoted, .history g.rejected, .history g.rolled").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_the_text_have_contrast_and_a_phone_needs_no_sideways_scrolling(
    opened: "Page", scheme: str
) -> None:
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": 375, "height": 700})
    assert opened.evaluate("document.documentElement.scrollWidth") == 375
    ratios = opened.evaluate("""() => {
        const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
                .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
        };
        const names = "q0 q1 q2 q3 q4 q5 q6 q7 a1 a2 a3 a4 b1 b2 b3 b4".split(" ");
        return names.map((name) => {
            const sample = document.createElement("i");
            sample.className = name;
            document.body.append(sample);
            const style = getComputedStyle(sample);
            const [one, other] = [light(style.color), light(style.backgroundColor)];
            return [name, Math.max(one, other) / Math.min(one, other)];
        });
    }""")
    assert [name for name, ratio in ratios if ratio < 4.5] == []


def test_the_stage_writes_what_follows_from_params_and_outputs_alone(finished: Path) -> None:
    written = (finished / "data/reports/report.html").read_text()
    assert make_page(PARAMS, finished / "data")[0] == written
    assert "Commit</dt>" not in written


def test_absent_files_are_named_and_the_rest_is_shown(project: Path) -> None:
    absent = ["scores/rnn/gated.safetensors", "mixtures.safetensors", "reports/figures/ngrams/zipf.png"]
    absent += ["models/rnn/carried/history.csv", "reports/training.json"]
    for name in absent:
        (project / "data" / name).unlink()
    said: list[str] = []
    write_report(project, None, said.append)
    assert {line.partition(":")[0] for line in said[:-1]} >= {f"data/{name}" for name in absent[:2]}
    assert said[-1].startswith(str(project / "report.html"))
    page = (project / "report.html").read_text()
    assert all(f"<code>data/{name.removesuffix('.png')}</code>" in page for name in absent)
    assert '"name": "windowed", "test": ' in page
    assert '"name": "gated", "test": ' not in page


def test_a_damaged_score_file_is_one_line_that_names_it(project: Path) -> None:
    path = project / "data/mixtures.safetensors"
    kept = path.read_bytes()
    arrays = load_file(path)
    arrays["arithmetic.test"][3] = np.nan
    save_file(arrays, path)
    with pytest.raises(
        UserError, match=r"mixtures.safetensors: arithmetic.test is not nats of this corpus; recreate"
    ):
        write_report(project, project / "page.html", print)
    save_file({key: nats for key, nats in arrays.items() if key != "arithmetic.val"}, path)
    with pytest.raises(UserError, match=r"mixtures.safetensors: no arithmetic.val; recreate"):
        write_report(project, project / "page.html", print)
    path.write_bytes(kept)
    path = project / "data/scores/rnn/gated.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"gated.safetensors: damaged"):
        write_report(project, project / "page.html", print)
    assert not (project / "page.html").exists()


def test_params_that_differ_from_the_commit_are_listed() -> None:
    committed = "a: {b: 1, c: [1, 2]}\nd: x\n"
    assert facts.changed_params(committed, {"a": {"b": 2, "c": [1, 2]}, "e": None}) == [
        ("a.b", "1", "2"),
        ("d", '"x"', "–"),
        ("e", "–", "null"),
    ]
    assert facts.changed_params(None, {"a": 1}) == []
