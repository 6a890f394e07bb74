"""One real model server, which has to survive every bad request."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException
from registered import registered

from timemachine.language.generation.continuation import sampling_of
from timemachine.language.generation.decoding import continue_texts
from timemachine.language.models.trained import LanguageModel
from timemachine.tracking import registry, serving
from timemachine.tracking.server import serve_version
from timemachine.tracking.store import open_store

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


def test_it_says_what_it_serves_and_keeps_to_this_machine(url: str, served: Path) -> None:
    log = (served / "server.log").read_text()
    assert log.startswith("serving champion: version 1 of timemachine-lm (gated, run ")
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
        with pytest.raises(ValueError, match=f"^port {port} of 127"):
            serve_version(served, "timemachine", "champion", port)


def test_the_largest_request_is_within_the_limits() -> None:
    rows = [ROW | {"num_preds": serving.MAX_CHARACTERS // serving.MAX_ROWS - len("time")}] * serving.MAX_ROWS
    assert len(serving.read_request(rows, {})[0]) == serving.MAX_ROWS
