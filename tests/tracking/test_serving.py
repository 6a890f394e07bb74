"""One real model server, which has to survive every bad request."""

import json
import math
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import requests
import torch
from mlflow.exceptions import MlflowException
from prometheus_client.parser import text_string_to_metric_families
from registered import registered

from timemachine.language.generation.continuation import clean_prefix, sampling_of
from timemachine.language.generation.decoding import continue_texts
from timemachine.language.models.trained import LanguageModel
from timemachine.tracking import registry, serving
from timemachine.tracking.server import serve_version
from timemachine.tracking.store import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ROW = {"prefix": "time", "num_preds": 5}


@pytest.fixture(scope="module")
def served(finished: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with a champion."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("served") / "project"))
    shutil.copy(empty_store, root / "mlflow.db")
    with open_store(root, "timemachine") as store:
        champion = registered(store, root / "data/models/rnn/gated", root / "packaged")
        registry.move_alias(store, "champion", champion, reason="the first")
        store.client.log_metric(champion.run_id, "val_bits_per_character", 2.5)
    # As if the library had changed since.
    code = root / "mlartifacts" / champion.run_id / "artifacts/model/code/timemachine/tracking/serving.py"
    code.write_text(code.read_text().replace("MAX_ROWS = 64", "MAX_ROWS = 32"))
    return root


@pytest.fixture(scope="module")
def url(served: Path) -> Iterator[str]:
    """Where `timemachine serve` answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = served / "server.log"
    command = [sys.executable, "-m", "timemachine.cli", "serve", "--port", str(port)]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=served, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).raise_for_status()
                break
            except requests.ConnectionError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def model(served: Path) -> LanguageModel:
    return LanguageModel.load(served / "data/models/rnn/gated")


def ask(url: str, *rows: dict[str, Any], **params: Any) -> list[str]:
    answer = requests.post(url, json={"dataframe_records": rows, "params": params}, timeout=30)
    assert answer.status_code == 200, answer.text
    return [row["text"] for row in answer.json()["predictions"]]


def page_of(url: str) -> str:
    return url.removesuffix("invocations")


def figures(url: str) -> dict[tuple[str, ...], float]:
    """The metrics of the server, by name and labels."""
    text = requests.get(f"{page_of(url)}metrics", timeout=30).text
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_it_says_what_it_serves_and_keeps_to_this_machine(url: str, served: Path) -> None:
    log = (served / "server.log").read_text()
    assert log.startswith("serving champion: version 1 of timemachine-lm (gated, run ")
    assert f"page: {page_of(url)} and {page_of(url)}docs\n" in log
    assert f"curl {url} " in log
    assert "Uvicorn running on http://127.0.0.1:" in log
    assert "Warning" not in log


def test_rows_of_different_lengths_are_answered_as_each_alone(url: str, model: LanguageModel) -> None:
    rows = [{"prefix": "time traveller", "num_preds": 50}, {"prefix": "it", "num_preds": 3}, ROW]
    alone = [
        continue_texts(model.module, model.tokenizer, [row["prefix"]], [row["num_preds"]], sampling_of())[0]
        for row in rows
    ]
    assert ask(url, *rows) == alone


def test_a_prefix_is_read_as_the_text_was(url: str) -> None:
    (text,) = ask(url, ROW | {"prefix": "Time -- Traveller!"})
    assert text.startswith("time traveller ")


def test_what_is_drawn_comes_again_with_the_seed(url: str, model: LanguageModel) -> None:
    hot = {"temperature": 1.5, "top_k": 20, "top_p": 0.95}
    row = {"prefix": "time", "num_preds": 40}
    first = ask(url, row, seed=1, **hot)
    assert ask(url, row, seed=1, **hot) == first != ask(url, row, seed=2, **hot)
    assert first == continue_texts(
        model.module, model.tokenizer, ["time"], [40], sampling_of(1.5, None, 20, 0.95), seed=1
    )


def test_a_table_in_the_other_format_is_read_too(url: str) -> None:
    split = pd.DataFrame([ROW]).to_json(orient="split")
    answer = requests.post(url, json={"dataframe_split": json.loads(split)}, timeout=30)
    assert answer.json()["predictions"] == [{"text": ask(url, ROW)[0]}]


def records(*rows: Any, **more: Any) -> str:
    return json.dumps({"dataframe_records": rows, **more})


MANY_BRACKETS = "[" * 100_000
BAD = [
    (records(ROW | {"prefix": ""}), "row 0: prefix: the prefix is empty"),
    (records(ROW, ROW | {"prefix": " 1895! "}), "row 1: prefix: the prefix holds no letter A-Z"),
    (records(ROW | {"prefix": 5}), "row 0: prefix: 5 should be a string"),
    (records(ROW | {"prefix": None}), "row 0: prefix: missing"),
    (
        records(ROW | {"prefix": "a" * 1001}),
        f"row 0: prefix: '{'a' * 27}...{'a' * 28}' is too long; at most 1000 characters allowed",
    ),
    (
        records(ROW | {"prefix": "a\ud800"}),
        r"row 0: prefix: 'a\ud800' should be a string, unable to parse raw data as a unicode string",
    ),
    *(
        (records(ROW | {"num_preds": value}), f"row 0: num_preds: {value!r} should be {wanted}")
        for wanted, values in (
            ("greater than or equal to 1", (0, -1)),
            ("less than or equal to 1000", (1001, 10**20)),
            ("an integer", (2.5, "x", "7", True, float("inf"), [1], {})),
        )
        for value in values
    ),
    (records(ROW | {"num_preds": None}), "row 0: num_preds: missing"),
    (records(ROW | {"num_preds": float("nan")}), "row 0: num_preds: missing"),
    (records(ROW | {"num_preds": 0}).replace("0}", "1" * 5000 + "}"), "the body is not JSON: Exceeds the limit"),
    (records({"prefix": "time"}), "row 0: num_preds: missing"),
    (records(ROW, {"num_preds": 5}), "row 1: prefix: missing"),
    (
        records(ROW | {"prefx": "a"}),
        "row 0: prefx: unknown key; did you mean 'prefix'? allowed: prefix, num_preds",
    ),
    (
        json.dumps(dict.fromkeys(map(str, range(200)))),
        "an object in the body has 200 keys; at most 100 are allowed",
    ),
    (records(), "a request has 1 to 32 rows, not 0"),
    (records(*[ROW] * 1000), "a request has 1 to 32 rows, not 1000"),
    (records(*[ROW | {"num_preds": 1000}] * 10), "the request is too large: "),
    (records(1, 2), "the body: dataframe_records.0: 1 should be a mapping of keys to values"),
    (records(*[1] * 100_000), "the body: dataframe_records.0: 1 should be a mapping of keys to values"),
    (json.dumps({"dataframe_records": "time"}), "the body: dataframe_records: 'time' should be a list"),
    (
        json.dumps({"dataframe_split": {"columns": ["prefix"], "data": [["a", 2]]}}),
        "dataframe_split: columns: ['prefix'] has too few entries; at least 2 needed",
    ),
    (
        json.dumps({"dataframe_split": {"columns": ["prefix", "num_preds"], "data": [["a"]] * 100_000}}),
        "dataframe_split: data.0: ['a'] has too few entries; at least 2 needed",
    ),
    (
        json.dumps({"dataframe_split": {"columns": ["prefix", "num_preds"], "data": [["a", 2]], "index": [0, 1]}}),
        "dataframe_split: index and data differ in length",
    ),
    (
        json.dumps({"inputs": [ROW]}),
        "the body: dataframe_records: missing; inputs: unknown key; allowed: dataframe_records, params",
    ),
    (json.dumps({}), "the body: dataframe_records: missing"),
    (records(ROW, params={"temperature": -1}), "temperature: -1.0 is not a number of at least 0"),
    (records(ROW, params={"temperature": "hot"}), "params: temperature: 'hot' should be a number"),
    (records(ROW, params={"temperature": float("nan")}), "temperature: nan is not a number of at least 0"),
    (records(ROW, params={"temperature": 10**400}), "params: temperature: 1000"),
    (records(ROW, params={"top_k": 0}), "params: top_k: 0 should be greater than or equal to 1"),
    (records(ROW, params={"top_k": 2.0}), "params: top_k: 2.0 should be an integer"),
    (records(ROW, params={"seed": 1e18}), "params: seed: 1e+18 should be an integer"),
    (
        records(ROW, params={"seed": 2**63}),
        "params: seed: 9223372036854775808 should be less than 9223372036854775808",
    ),
    (records(ROW, params={"top_k": True}), "params: top_k: True should be an integer"),
    (records(ROW, params={"top_p": 2}), "sampling: top_p: 2.0 should be less than or equal to 1"),
    (records(ROW, params={"seed": -1}), "params: seed: -1 should be greater than or equal to 0"),
    (
        records(ROW, params={"speed": 1}),
        "params: speed: unknown key; did you mean 'seed'? allowed: temperature, top_k, top_p, seed",
    ),
    (records(ROW, params=[1]), "the body: params: [1] should be a mapping of keys to values"),
    ("time traveller", "the body is not JSON: "),
    ("", "the body is not JSON: "),
    ("[]", "the body: holds no keys; wanted: dataframe_records, params"),
    (MANY_BRACKETS, "the body is not JSON: "),
    ("\ud800", "the body is not JSON: "),
]


def test_a_bad_request_is_refused_in_one_sentence_and_the_server_lives_on(url: str) -> None:
    json_type = {"Content-Type": "application/json"}
    session = requests.Session()
    for body, message in BAD:
        answer = session.post(url, data=body.encode(errors="surrogatepass"), headers=json_type, timeout=30)
        assert answer.status_code == 400, (body[:100], answer.text)
        assert answer.json()["message"].startswith(message), (body[:100], answer.text)
        assert len(answer.json()["message"].splitlines()) == 1
    assert ask(url, ROW)


@pytest.mark.parametrize(
    "content_type",
    [
        "Application/JSON",
        'application/json; charset="utf-8"',
        "application/json ;Charset=UTF-8",
        "application/json;",
    ],
)
def test_a_content_type_is_known_in_every_spelling(url: str, content_type: str) -> None:
    answer = requests.post(url, data=records(ROW).encode(), headers={"Content-Type": content_type}, timeout=30)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/csv",
        "application/json; charset=utf-16",
        'application/json; charset="utf-8',
        "application/jsonl",
    ],
)
def test_another_content_type_is_refused(url: str, content_type: str | None) -> None:
    answer = requests.post(url, data=records(ROW).encode(), headers={"Content-Type": content_type}, timeout=30)
    assert answer.status_code == 415
    assert "wanted: application/json" in answer.json()["message"]


def test_a_body_without_end_is_not_read_to_its_end(url: str) -> None:
    json_type = {"Content-Type": "application/json"}
    answer = requests.post(url, data=iter([b" " * 100_000] * 15), headers=json_type, timeout=30)
    assert (answer.status_code, answer.json()["message"]) == (413, "the body has more than 1000000 bytes")


def test_the_largest_seed_is_taken(url: str) -> None:
    assert ask(url, ROW, seed=2**63 - 1, top_k=10**9)


def test_many_at_once_get_the_same_answer(url: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: tuple(ask(url, ROW)), range(64)))
    assert len(set(answers)) == 1


def bits(model: LanguageModel, prefix: str, tokens: list[str]) -> list[float]:
    """The bits that a model charges for each token after a prefix."""
    vocabulary = model.tokenizer.vocabulary
    indices = torch.tensor([[*model.tokenizer.encode(clean_prefix(prefix)), *vocabulary[tokens]]])
    with torch.inference_mode():
        log_p = model.module.eval()(indices, None)[0][0].log_softmax(-1)  # (num_tokens, vocab)
    begin = indices.shape[1] - len(tokens)
    return [-float(log_p[at - 1, indices[0, at]]) / math.log(2) for at in range(begin, indices.shape[1])]


def test_a_stream_is_the_answer_character_by_character_with_the_models_probabilities(
    url: str, model: LanguageModel
) -> None:
    body = {"dataframe_records": [ROW | {"num_preds": 30}], "params": {"top_k": 3, "seed": 4}}
    answer = requests.post(f"{page_of(url)}stream", json=body, timeout=30)
    first, *tokens, last = map(json.loads, answer.text.splitlines())
    assert (first, last) == ({"prefix": "time"}, {"end": True})
    text = "time" + "".join(token["text"] for token in tokens)
    assert [text] == ask(url, ROW | {"num_preds": 30}, top_k=3, seed=4)
    charged = [-math.log2(token["probability"]) for token in tokens]
    assert charged == pytest.approx(bits(model, "time", [token["text"] for token in tokens]), abs=1e-4)
    for token in tokens:
        assert [token["text"], token["probability"]] in token["likely"][:3]
        assert sorted(token["likely"], key=lambda pair: -pair[1]) == token["likely"]
    refused = requests.post(f"{page_of(url)}stream", json={"dataframe_records": [ROW, ROW]}, timeout=30)
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        "a request to /stream has 1 row, not 2; use /invocations",
    )


def test_nothing_is_written_for_a_client_that_has_left(url: str) -> None:
    before = figures(url)["timemachine_characters_total",]
    body = records(ROW | {"num_preds": 1000}).encode()
    host, port = page_of(url).removeprefix("http://").rstrip("/").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # what is not read does not fit
        client.connect((host, int(port)))
        head = f"POST /stream HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 30
    while ("timemachine_errors_total", "left", "/stream") not in (now := figures(url)):
        assert time.monotonic() < deadline
    assert 0 < now["timemachine_characters_total",] - before < 1000


def test_the_metrics_count_what_was_answered_and_refused(url: str) -> None:
    before = figures(url)
    ask(url, ROW, ROW)
    requests.post(url, json={}, timeout=30)
    requests.get(f"{page_of(url)}nothing", timeout=30)
    now = figures(url)
    risen = {key: now[key] - before.get(key, 0) for key in now}
    assert risen["timemachine_characters_total",] == 2 * ROW["num_preds"]
    assert risen["timemachine_requests_total", "/invocations", "200"] == 1
    assert risen["timemachine_requests_total", "/invocations", "400"] == 1
    assert risen["timemachine_errors_total", "refused", "/invocations"] == 1
    assert risen["timemachine_requests_total", "other", "404"] == 1
    assert risen["timemachine_request_seconds_count", "/invocations"] == 2
    assert now["timemachine_requests_in_flight",] == 1  # the request for them
    assert now["timemachine_model_score", "val_bits_per_character"] == 2.5


def test_health_says_what_is_served(url: str, served: Path) -> None:
    answer = requests.get(f"{page_of(url)}health", timeout=30)
    content = answer.json()
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", content.pop("since"))
    (run,) = (path.name for path in (served / "packaged").iterdir())
    assert content == {
        "status": "ok",
        "model": "timemachine-lm",
        "alias": "champion",
        "version": "1",
        "name": "gated",
        "run_id": run,
        "val_bits_per_character": 2.5,
        "test_bits_per_character": None,
    }
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("", "docs", "favicon.ico", "ping"):
        assert requests.head(page_of(url) + path, timeout=30).status_code == 200, path


def test_the_documentation_has_the_limits_of_the_served_code(url: str, page: "Page") -> None:
    page.goto(f"{page_of(url)}docs")
    text = page.locator("main").inner_text()
    assert "Limits: 32 rows" in text
    assert f"from 1 to {serving.MAX_NUM_PREDS:,}" in text
    content = requests.get(f"{page_of(url)}openapi.json", timeout=30).json()
    (media,) = content["components"]["requestBodies"]["Texts"]["content"].values()
    rows, params = media["schema"]["properties"].values()
    assert rows["maxItems"] == 32
    row = rows["items"]["properties"]
    assert set(row) == set(serving.Row.model_fields)
    assert row["prefix"]["maxLength"] == serving.MAX_PREFIX_CHARACTERS
    assert row["num_preds"]["maximum"] == serving.MAX_NUM_PREDS
    assert set(params["properties"]) == set(serving.Options.model_fields)
    assert ask(url, *media["example"]["dataframe_records"], **media["example"]["params"])


def test_the_page_shows_a_real_answer_with_the_models_probabilities(
    url: str, page: "Page", model: LanguageModel
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_of(url))
    page.get_by_text("2.500").wait_for()
    assert re.search(r"champion\s+gated\s+version 1 of timemachine-lm", page.locator("#served").inner_text(), re.I)
    typed = {"Text to continue": "it's <script>alert(1)</script>", "Length": "40", "Temperature": "1.2"}
    for label, value in (typed | {"Top-k": "9", "Seed": str(2**63 - 1)}).items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Write").click()
    page.get_by_text("40 characters, ").wait_for()
    row: dict[str, Any] = {"prefix": "it's <script>alert(1)</script>", "num_preds": 40}
    (text,) = ask(url, row, temperature=1.2, top_k=9, seed=2**63 - 1)
    assert page.locator("#answer").text_content() == text
    # The line for curl repeats the request, and shows what was typed as text.
    line = shlex.split(page.locator("#curl").inner_text())
    assert json.loads(line[-1])["dataframe_records"] == [row]
    again = requests.post(line[1], data=line[-1], headers=dict([line[3].split(": ")]), timeout=30)
    assert again.json() == {"predictions": [{"text": text}]}
    assert page.locator("script").count() == 1
    # Each character has its probability: in the table, and by the keyboard.
    page.get_by_text("Probabilities as a table").click()
    cells = [line.split("\t") for line in page.locator("#rows").inner_text().splitlines()]
    tokens = [cell[1].replace("space", " ") for cell in cells]
    assert len(tokens) == 40
    assert text.endswith("".join(tokens))
    assert [float(cell[3]) for cell in cells] == pytest.approx(bits(model, row["prefix"], tokens), abs=0.006)
    page.locator("#answer").press("End")
    page.locator("#answer").press("ArrowLeft")
    assert cells[-2][2] in page.locator("#chosen").inner_text()
    assert asked
    assert [address for address in asked if not address.startswith(page_of(url))] == []


def test_the_page_shows_a_refusal_as_the_sentence_it_is(url: str, chromium: "Browser") -> None:
    page = chromium.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(page_of(url))
    refusals = {
        " 1895! ": "row 0: prefix: the prefix holds no letter A-Z",
        "<script>" * 200: f"row 0: prefix: '{('<script>' * 4)[:27]}...{('<script>' * 4)[-28:]}' is too long; "
        "at most 1000 characters allowed",
    }
    for prefix, refusal in refusals.items():
        page.get_by_label("Text to continue").fill(prefix)
        page.get_by_role("button", name="Write").click()
        page.locator("#error").get_by_text(refusal, exact=True).wait_for()
    page.get_by_label("Text to continue").fill("time")
    page.get_by_label("Length").fill("many")
    page.get_by_role("button", name="Write").click()
    page.get_by_text("row 0: num_preds: 'many' should be an integer").wait_for()
    page.close()
    # Chromium notes each answer with status 400.
    assert [error for error in errors if "status of 400" not in error] == []


def test_nothing_else_of_the_server_is_shut_off(url: str) -> None:
    assert requests.get(url.replace("invocations", "health"), timeout=30).status_code == 200
    assert requests.get(url, timeout=30).status_code == 405


def test_the_server_runs_the_code_that_the_version_brought(url: str) -> None:
    answer = requests.post(url, json={"dataframe_records": [ROW] * 33}, timeout=30)
    assert answer.json()["message"] == "a request has 1 to 32 rows, not 33"


@pytest.fixture(scope="module")
def loaded(served: Path) -> Iterator[Any]:
    """What MLflow's own server, or a notebook, gets: MLflow checks the columns, the model their values."""
    (folder,) = (served / "packaged").iterdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "path", [*sys.path])
        from mlflow.pyfunc import load_model

        yield load_model(str(folder))


def test_in_python_it_writes_too(loaded: Any, model: LanguageModel) -> None:
    answer = loaded.predict(pd.DataFrame([ROW, ROW]), params={"temperature": 0.0})
    assert list(answer["text"]) == continue_texts(
        model.module, model.tokenizer, ["time"] * 2, [5] * 2, sampling_of()
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW | {"num_preds": 2.5}], r"row 1: num_preds: 2\.5 should be an integer"),
        ([ROW, {"prefix": "a"}], "row 1: num_preds: missing"),
        ([{"prefix": "a"}], r"missing inputs \['num_preds'\]"),
        ([ROW | {"prefix": ""}], "the prefix is empty"),
        ([ROW] * 65, "a request has 1 to 64 rows"),
    ],
)
def test_in_python_it_refuses_too(loaded: Any, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(MlflowException, match=message) as refused:
        loaded.predict(pd.DataFrame(rows))
    assert refused.value.get_http_status_code() == 400


def test_without_a_champion_there_is_nothing_to_serve(root: Path) -> None:
    with pytest.raises(ValueError, match=r"mlflow\.db has no champion; run `timemachine retrain`$"):
        serve_version(root, "timemachine", "champion", 5001)


def test_a_taken_port_is_named(served: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"^port {port} of 127.*; use --port to choose another$"):
            serve_version(served, "timemachine", "champion", port)


def test_the_largest_request_is_within_the_limits() -> None:
    rows = [ROW | {"num_preds": serving.MAX_CHARACTERS // serving.MAX_ROWS - len("time")}] * serving.MAX_ROWS
    assert len(serving.read_request(rows, {})[0]) == serving.MAX_ROWS
