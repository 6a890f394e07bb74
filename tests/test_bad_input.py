"""Whatever a user brings, there is an answer of finite numbers, or one line that says what is wrong."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from tiny import make_project, random_text, run_stage, tiny_params, write_params

from timemachine.base import config
from timemachine.base.files import read_arrays
from timemachine.forecasting.own.forecast import Options, forecast_series
from timemachine.forecasting.series.own import read_series
from timemachine.language.generation.continuation import clean_prefix, sampling_of
from timemachine.language.generation.decoding import continue_texts
from timemachine.language.models.trained import LanguageModel
from timemachine.pipeline import params
from timemachine.retraining.inbox import Inbox
from timemachine.tracking.front import check_body

pytestmark = pytest.mark.slow

TINY = tiny_params()
CHECKED = config.validate(params.Params, TINY, "params.yaml")


def examples(number: int) -> Callable[[Any], Any]:
    return settings(max_examples=number, derandomize=True)


@contextmanager
def refusals(*kinds: type[BaseException]) -> Iterator[None]:
    """Take a refusal for an answer if it is one line that says something."""
    said = "nothing"
    try:
        yield
    except kinds as error:
        said = str(error)
    assert len(said.splitlines()) == 1
    assert len(said) < 10_000


def run_stages(folder: Path, *stages: str) -> None:
    """Run stages, NAME or NAME ARGUMENT, until one refuses; what they write holds no NaN and no infinity."""
    with refusals(SystemExit):
        for stage in stages:
            run_stage(folder, *stage.split())
    for path in (folder / "data/results").rglob("*.json"):
        json.dumps(json.loads(path.read_text()), allow_nan=False)
    for path in folder.glob("data/scores/rnn/*"):
        assert all(np.isfinite(array).all() for array in read_arrays(path).values()), path
    for path in {*(folder / "data").rglob("*.csv")} - {*(folder / "data/own").glob("*")}:
        assert not {"nan", "inf", "-inf"} & set(path.read_text().replace("\n", ",").split(",")), path


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workshop")


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = content.items() if isinstance(content, dict) else enumerate(content)
    for key, child in children:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))


NUMBERS = st.integers() | st.floats() | st.sampled_from([-1, 0, 1, 2**63, 10**400, 5e-324, 1e6, 1e308])
TEXTS = st.text(max_size=20) | st.sampled_from(["", "\n", "x" * 20_000, "kneser_ney_3\n", "1e-3", "data/own/.."])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.just(date(2020, 2, 29)) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NUMBERS | TEXTS, inner, max_size=3),
    max_leaves=4,
)


@examples(600)
@given(st.sampled_from(list(places(TINY))), VALUES, st.none() | NUMBERS | TEXTS)
def test_any_value_or_key_in_any_place_of_the_params_is_taken_or_refused_in_one_short_line(
    place: tuple[Any, ...], value: Any, key: Any
) -> None:
    content: Any = deepcopy(TINY)
    section = content
    for part in place[:-1]:
        section = section[part]
    if key is None or isinstance(section, list):
        section[place[-1]] = value
    else:
        section[key] = value
    said = "params.yaml: nothing"
    try:
        config.validate(params.Params, content, "params.yaml")
    except ValueError as error:
        said = str(error)
    assert said.startswith("params.yaml: ")
    assert said.isprintable()
    assert len(said) < 3000


@examples(18)
@given(
    st.fixed_dictionaries(
        {
            "implementation": st.sampled_from(["scratch", "concise"]),
            "activation": st.sampled_from(["tanh", "relu"]),
            "sampling": st.sampled_from(["sequential", "random", "windows"]),
            "optimizer": st.sampled_from(["sgd", "adam", "adamw"]),
            "lr": st.sampled_from([5e-324, 1.0, 1e3, 1e5, 1e6]),
            "clip_norm": st.sampled_from([None, 5e-324, 1.0, 1e6]),
            "num_val": st.sampled_from([0, 9, 100]),
            "batch_size": st.sampled_from([1, 4, 64]),
        }
    ),
    st.sampled_from([5e-324, 1.0, 1e6]),
)
def test_a_training_with_any_knobs_has_finite_scores_or_is_stopped(
    finished: Path, workshop: Path, knobs: dict[str, Any], dynamic_lr: float
) -> None:
    content = deepcopy(TINY)
    recipes, dynamic = content["train_rnn"], content["dynamic_evaluation"]
    recipes["windowed"] |= knobs | {"device": "cpu"}
    dynamic |= {"models": ["gated", "windowed"], "lr": dynamic_lr}
    content["compare_models"]["mixtures"]["geometric"]["models"] = ["windowed_dynamic", "gated_dynamic"]
    shutil.copytree(finished, folder := workshop / "training", dirs_exist_ok=True)
    write_params(folder, content)
    run_stages(folder, "train_rnn windowed", "evaluate_perplexity windowed", "dynamic_evaluation windowed")


WORDS = st.sampled_from(
    ["the", "time", "a", "<unk>", "\r", "\n", "\0", "\ufeff", "é", "Привет", "\u2028", "İ", " 7 "]
)
BYTES = st.binary(max_size=60) | st.lists(WORDS, max_size=12).map(lambda words: " ".join(words).encode())


@examples(25)
@given(BYTES, st.sampled_from([1, 20, 300]))
def test_any_bytes_are_read_and_counted_as_a_text_or_refused(workshop: Path, content: bytes, times: int) -> None:
    folder = workshop / "text"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make_project(folder)
    (folder / "text.txt").write_bytes(content * times)
    changed = deepcopy(TINY)
    changed["texts"]["timemachine"]["sha256"] = hashlib.sha256(content * times).hexdigest()
    write_params(folder, changed)
    run_stages(folder, "download timemachine", "preprocess", "ngram_models", "ngrams")


def own(values: list[float], growth: float, alone: bool) -> list[float]:
    """Return 120 values: a few over and over, growing or fading; or one alone, late among zeros."""
    t = np.arange(120)
    with np.errstate(over="ignore"):
        x = np.array(values)[t % len(values)] * growth**t
    return [float(value) for value in (np.where(t == 100, x, 0) if alone else x)]


ORDINARY = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-100, 100)
SERIES = st.builds(
    own,
    st.lists(ORDINARY, min_size=1, max_size=7) | st.lists(st.floats(), min_size=1, max_size=2),
    st.sampled_from([0.1, 0.9, 1.0, 1.3]),
    st.booleans(),
)


@examples(10)
@given(SERIES, st.booleans())
def test_stages_forecast_any_own_series_in_finite_numbers_or_refuse_it(
    finished: Path, workshop: Path, x: list[float], standardize: bool
) -> None:
    shutil.copytree(finished, folder := workshop / "series", dirs_exist_ok=True)
    write_series(folder / "data/own/s.csv", x)
    content = deepcopy(TINY)
    content["series"] |= {"csv": "data/own/s.csv", "time_column": "t", "value_column": "x"}
    content["backtest"]["trained"] = {"linear": ["recursive"]}
    content["train_ar"]["linear"]["standardize"] = standardize
    write_params(folder, content)
    run_stages(folder, "check", "series", "choose_tau", "intervals", "backtest")


def write_series(path: Path, x: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("t,x\n" + "".join(f"{t},{value!r}\n" for t, value in enumerate(x)))


@examples(40)
@given(
    SERIES,
    st.integers(0, 120),
    st.sampled_from([1, 7, 1000]),
    st.sampled_from([None, None, "harmonic", "log_theta", "direct_recursive_ridge", "recursive_linear", "best"]),
    st.sampled_from([None, 5e-324, 0.5, 1 - 2**-53]),
    st.sampled_from([None, True, False]),
)
def test_the_command_line_forecasts_any_own_series_in_finite_numbers_or_refuses_it(
    workshop: Path,
    x: list[float],
    length: int,
    horizon: int,
    strategy: str | None,
    level: float | None,
    log: bool | None,
) -> None:
    write_series(path := workshop / "own.csv", x[:length])
    with refusals(ValueError):
        series = read_series(path)
        options = Options(strategy, level, log, recipes=CHECKED.train_ar)
        found = forecast_series(series.x, series.seasons, horizon, options)
        assert np.isfinite([*found.x, found.mae, *found.ranking.values()]).all()
        if level is not None:
            assert np.isfinite([found.lower, found.upper]).all()
            assert (found.lower <= found.x).all()
            assert (found.x <= found.upper).all()


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=4,
)
PREFIXES = st.text(st.characters(), max_size=30) | st.text("aB \n\0\ud800💥", max_size=30) | st.just("a" * 5000)
OPTIONS = st.none() | st.floats()


@examples(200)
@given(PREFIXES | JSON, OPTIONS, OPTIONS, st.none() | st.integers(), OPTIONS)
def test_any_prefix_with_any_options_is_continued_or_refused(
    finished: Path,
    prefix: Any,
    temperature: float | None,
    alpha: float | None,
    top_k: int | None,
    top_p: float | None,
) -> None:
    model = LanguageModel.load(finished / "data/models/rnn/gated")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    body = {"dataframe_records": [{"prefix": prefix, "num_preds": 5}], "params": options}
    with refusals(HTTPException):
        check_body(json.dumps(body).encode())
    if isinstance(prefix, str):
        with refusals(ValueError):
            sampling = sampling_of(temperature, alpha, top_k, top_p)
            (text,) = continue_texts(model.module, model.tokenizer, [clean_prefix(prefix)], [5], sampling)
            assert len(text) > 5


NAMES = st.binary(min_size=1, max_size=100) | st.sampled_from([b"-rf", b"a\nb", b".", b"\xed\xa0\x80", b"a" * 251])


@examples(40)
@given(st.dictionaries(NAMES, BYTES | st.just(random_text(1).encode()), max_size=3))
def test_files_of_any_name_and_content_are_decided_on_in_one_line_each(
    workshop: Path, files: dict[bytes, bytes]
) -> None:
    folder = workshop / "retraining"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data/inbox").mkdir(parents=True)
    make_project(folder)
    inbox = Inbox(CHECKED, folder)
    names = {name.replace(b"/", b"").replace(b"\0", b"") + b".txt": content for name, content in files.items()}
    for name, content in names.items():
        (inbox.folder / os.fsdecode(name)).write_bytes(content)
    decisions = list(inbox.take())
    assert all(decision.line().isprintable() for decision in decisions)
    assert len(decisions) == sum(not name.startswith(b".") for name in names)
    inbox.check_accepted()
