"""Every stage as a user runs it, on tiny params in a folder of its own."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from graph import ROOT
from safetensors.numpy import load_file
from tiny import ALL_STAGES, make_project, run_stage, write_params

pytestmark = pytest.mark.slow


def outputs(folder: Path) -> dict[str, str]:
    """The hash of every file that the stages wrote."""
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def change(folder: Path, *path: str, to: Any) -> None:
    content = yaml.safe_load((folder / "params.yaml").read_text())
    section = content
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = to
    write_params(folder, content)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"data/reports/{name}.json").read_text())


def test_every_output_that_dvc_yaml_declares_is_written(finished: Path) -> None:
    declared = {str(out) for out in declared_outputs()} - {"data/published.json"}
    assert {path for path in declared if not (finished / path).exists()} == set()


def declared_outputs() -> list[str]:
    names = {
        "train_ar": ["linear", "mlp"],
        "train_rnn": ["carried", "windowed", "gated"],
        "evaluate_perplexity": ["carried", "windowed", "gated"],
        "dynamic_evaluation": ["gated"],
    }
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = []
    for stage, content in graph.items():
        body = content.get("do", content)
        for out in [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]:
            path = out if isinstance(out, str) else next(iter(out))
            outs += [path.replace("${key}", name).replace("${item}", name) for name in names.get(stage, [""])]
    return outs


def test_the_same_params_give_the_same_bytes_in_another_folder_locale_and_time_zone_with_other_styles(
    finished: Path, tmp_path: Path
) -> None:
    make_project(tmp_path)
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 5\nfont.size: 20\nsavefig.facecolor: red\n")
    environment = os.environ | {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    script = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\nimport pathlib, tiny\n"
    script += "for stage in tiny.ALL_STAGES: tiny.run_stage(pathlib.Path('.'), *stage)"
    # The scripts find their own folder by path, so the working directory is the project's.
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert outputs(tmp_path) == outputs(finished)


def test_reports_have_the_keys_that_other_tools_read(finished: Path) -> None:
    text, ngrams, forecast, perplexity = (read(finished, n) for n in ("text", "ngrams", "forecast", "perplexity"))
    assert text["texts"]["timemachine"]["num_lines"] == 75
    assert set(text["corpora"]["words"]) == {"tokens", "vocab_size"}
    assert set(ngrams["trigram"]) == {"total", "distinct", "top", "zipf_exponent", "zipf_ranks"}
    assert ngrams["unigram"]["total"] == 600
    assert ngrams["bigram"]["top"][0][0].count(" ") == 1
    assert set(forecast) == {"linear", "mlp"}
    assert {"one_step_rmse", "multistep_rmse", "k_step_rmse"} <= set(forecast["mlp"])
    assert set(perplexity) == {"uniform_lines", "uniform_whole", "carried", "windowed", "gated"}
    assert set(perplexity["carried"]["test"]) == {"nats", "bits_per_character", "perplexity", "tokens"}


def test_ngram_models_have_a_score_and_the_nats_of_every_held_out_token(finished: Path) -> None:
    report = read(finished, "ngram_models")
    assert set(report) == {"whole", "words"}
    assert set(report["words"]) == {"epsilon", "discounts", "models", "reversed", "arrow"}
    for name, orders in (("whole", 4), ("words", 2)):
        by_model = report[name]["models"]
        nats = load_file(finished / f"data/scores/ngram/{name}.safetensors")
        kinds = {"maximum_likelihood": 3, "additive": 3, "kneser_ney": orders}
        assert set(by_model) == {f"{kind}_{n}" for kind, last in kinds.items() for n in range(1, last + 1)}
        assert set(nats) == {f"{model}.{part}" for model in by_model for part in ("val", "test")}
        for key, values in nats.items():
            score = by_model[key.split(".")[0]][key.split(".")[1]]
            assert len(values) == score["tokens"]
            assert values.mean() == pytest.approx(np.inf if score["nats"] is None else score["nats"])
        arrow = report[name]["arrow"]["kneser_ney_2"]["test"]
        assert arrow["low"] <= arrow["bits_per_character"] <= arrow["high"]


def test_every_language_model_of_the_corpus_is_ranked_on_the_same_tokens(finished: Path) -> None:
    report = read(finished, "language_models")
    expected = {"uniform", "windowed", "gated", "gated_dynamic", "arithmetic", "geometric"}
    expected |= {"additive_3", "kneser_ney_4", "kneser_ney_3_adaptive", "context_mixing", "context_mixing_gated"}
    assert expected <= set(report["models"])
    assert len({row["test"]["tokens"] for row in report["models"].values()}) == 1
    bits = [row["test"]["bits_per_character"] for row in report["models"].values() if "low" in row["test"]]
    assert bits == sorted(bits)
    for row in report["models"].values():
        if "low" in row["test"]:
            assert row["test"]["low"] <= row["test"]["bits_per_character"] <= row["test"]["high"]
    assert set(report["mixtures"]["geometric"]) == {"gated_dynamic", "kneser_ney_3_adaptive"}
    assert set(report["compressors"]) == {"bz2", "xz", "ppmd"}


def test_the_study_of_gradients_compares_the_model_and_linear_networks(finished: Path) -> None:
    bptt = read(finished, "bptt")
    networks = {"carried", "linear_0.9", "linear_1.1"}
    assert set(bptt["gradient_norm"]) == set(bptt["estimates"]) == networks
    assert set(bptt["estimates"]["carried"]) == {"W_hh", "recurrent"}
    assert set(bptt["estimates"]["carried"]["W_hh"]) == {"truncated", "truncated_anywhere", "randomised"}
    assert set(bptt["cost"]) == set(bptt["training"]) == {"full", "truncated", "randomised"}


def test_checkpoints_have_everything_to_rebuild_and_history_to_read(finished: Path) -> None:
    folder = finished / "data/models/rnn/windowed"
    config = json.loads((folder / "config.json").read_text())
    assert {"implementation", "cell", "num_hiddens", "vocab_size", "vocabulary_sha256", "seed"} <= set(config)
    history = pd.read_csv(folder / "history.csv")
    assert list(history.columns) == ["epoch", "tokens", "nats", "perplexity", "val_nats", "val_perplexity"]
    assert np.exp(history["nats"]).tolist() == pytest.approx(history["perplexity"].tolist())


def test_generated_texts_start_with_their_prefix(finished: Path) -> None:
    text = (finished / "data/generated/carried.txt").read_text()
    assert text.startswith("the time")
    assert len(text) >= len("the time") + 10


def test_the_pipeline_takes_a_series_of_the_users_own(project: Path) -> None:
    path = project / "data/own/prices.csv"
    path.parent.mkdir(parents=True)
    days = pd.date_range("2020-01-01", periods=120, freq="D").strftime("%Y-%m-%d")
    pd.DataFrame({"day": days, "price": np.arange(120) % 7}).to_csv(path, index=False)
    change(project, "series", to={**section(project, "series"), "csv": "data/own/prices.csv"})
    change(project, "series", "time_column", to="day")
    change(project, "series", "value_column", to="price")
    first, last = ALL_STAGES.index(("series",)), ALL_STAGES.index(("draw_forecasts",))
    for stage in [*ALL_STAGES[first : last + 1], ("report",)]:
        run_stage(project, *stage)
    assert pd.read_csv(project / "data/series/series.csv")["t"][1] == "2020-01-02"
    assert read(project, "forecast")["linear"]["one_step_rmse"] > 0
    backtest = read(project, "backtest")
    assert backtest["num_series"] == 1
    assert (
        backtest["strategies"]["harmonic"]["multistep_rmse"]
        < 0.01
        < backtest["strategies"]["mean"]["multistep_rmse"]
    )
    assert set(read(project, "tau")) == {"with_noise"}
    assert read(project, "intervals")["strategies"]["harmonic"]["0.9"]["coverage"] > 0.5


def section(folder: Path, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "params.yaml").read_text())[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "gru", "implementation": "concise"},
        {"cell": "lstm", "implementation": "concise", "num_layers": 2, "embedding_dim": 4},
        {"activation": "relu", "clip_norm": None, "lr": 0.1},
        {"detach": False},
        {"corpus": "words", "embedding_dim": 4, "num_train": 300},
        {"optimizer": "adam", "lr": 0.01},
    ],
    ids=str,
)
def test_other_models_are_a_param_away(changes: dict[str, Any], project: Path) -> None:
    recipes = section(project, "train_rnn")
    change(project, "train_rnn", to=recipes | {"other": recipes["carried"] | changes})
    run_stage(project, "train_rnn", "other")
    run_stage(project, "evaluate_perplexity", "other")
    scores = json.loads((project / "data/results/perplexity/other.json").read_text())["scores"]
    assert scores["test"]["tokens"] > 0


def corrupt(name: str, content: bytes | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.unlink() if content is None else path.write_bytes(content)

    return damage


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def own_series(rows: str) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / "data/own").mkdir(parents=True)
        (folder / "data/own/s.csv").write_text("time,value\n" + rows)
        change(folder, "series", "csv", to="data/own/s.csv")

    return put


def other_text(content: bytes) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / "text.txt").write_bytes(content)
        change(folder, "texts", "timemachine", "sha256", to=hashlib.sha256(content).hexdigest())

    return put


def other_vocabulary(folder: Path) -> None:
    text = (folder / "text.txt").read_bytes() + b"quiz\n"
    (folder / RAW).write_bytes(text)
    run_stage(folder, "preprocess")


RAW, CARRIED = "data/raw/timemachine/timemachine.txt", "data/models/rnn/carried"
BAD = {
    "a wrong hash": (
        lambda f: change(f, "texts", "timemachine", "sha256", to="0" * 64),
        ["download", "timemachine"],
        ["text.txt", "wanted 000"],
    ),
    "an empty text": (corrupt(RAW, b""), ["preprocess"], [RAW, "empty"]),
    "a text of one letter": (
        corrupt(RAW, b"a"),
        ["preprocess"],
        ["corpora.lines", "timemachine", "train part empty"],
    ),
    "a text without letters": (corrupt(RAW, b"1 2 3\n"), ["preprocess"], [RAW, "no letter"]),
    "a text that is not UTF-8": (corrupt(RAW, b"time \xff"), ["preprocess"], [RAW, "not UTF-8 at byte 5"]),
    "a text that is not there": (corrupt(RAW, None), ["preprocess"], ["data/raw/timemachine", "dvc repro"]),
    "a text shorter than a minibatch": (
        lambda f: change(f, "train_rnn", "carried", "num_steps", to=1000),
        ["train_rnn", "carried"],
        ["train_rnn.carried: 400 tokens are too few", "num_steps 1000"],
    ),
    "an unknown recipe": (lambda f: None, ["train_rnn", "best"], ["'best'", "carried, windowed, gated"]),
    "no recipe": (lambda f: None, ["train_rnn"], ["usage", "NAME"]),
    "an unknown model": (lambda f: None, ["train_ar", "best"], ["'best'", "linear, mlp"]),
    "a device that is not here": (
        lambda f: change(f, "train_rnn", "carried", "device", to="cuda:99"),
        ["train_rnn", "carried"],
        ["train_rnn.carried: device", "'cuda:99'", "auto or cpu"],
    ),
    "cut tokens": (cut("data/text/lines/tokens.npy"), ["train_rnn", "carried"], ["lines/tokens.npy", "dvc repro"]),
    "a CSV that is too short, before anything runs": (
        own_series("".join(f"{i},{i % 5}\n" for i in range(50))),
        ["check"],
        ["data/own/s.csv: 50 points are too few: train_ar.linear needs num_train + tau +", "= 68"],
    ),
    "a CSV with a gap, before anything runs": (
        own_series("1,2\n2,3\n4,4\n"),
        ["check"],
        ["data/own/s.csv", "line 3", "equal steps"],
    ),
    "a device that is not here, before anything runs": (
        lambda f: change(f, "train_rnn", "carried", "device", to="cuda:99"),
        ["check"],
        ["train_rnn.carried: device", "'cuda:99'", "auto or cpu"],
    ),
    "a text that is none, before it gets its name": (
        other_text(b"1 2 3"),
        ["download", "timemachine"],
        ["no letter A-Z"],
    ),
    "a CSV with a gap": (own_series("1,2\n2,3\n4,4\n5,5\n"), ["series"], ["data/own/s.csv", "line 4", "gap"]),
    "a CSV with text for a number": (own_series("1,2\n2,x\n"), ["series"], ["data/own/s.csv", "line 3", "'x'"]),
    "a cut checkpoint": (
        cut(f"{CARRIED}/model.safetensors"),
        ["evaluate_perplexity", "carried"],
        ["carried/model.safetensors"],
    ),
    "a checkpoint of another vocabulary": (
        other_vocabulary,
        ["evaluate_perplexity", "carried"],
        ["carried/config.json", "vocab"],
    ),
    "a missing checkpoint": (
        corrupt(f"{CARRIED}/config.json", None),
        ["evaluate_perplexity", "carried"],
        ["no such file"],
    ),
    "a training that diverges": (
        lambda f: change(f, "train_ar", "linear", "lr", to=1_000_000.0),
        ["train_ar", "linear"],
        ["train_ar.linear: the training diverged in epoch", "lower lr, or set standardize: true"],
    ),
    "a text too short for the study": (
        lambda f: change(f, "bptt", "num_warmup", to=400),
        ["bptt"],
        ["bptt: num_warmup + the longest window, 410 tokens, exceed the 400"],
    ),
    "a wrong key": (lambda f: change(f, "series", "sigma", to=1.0), ["series"], ["series.sigma", "noise_std"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_fault_ends_in_one_line_and_changes_nothing(case: str, project: Path) -> None:
    damage, stage, words = BAD[case]
    damage(project)
    before = outputs(project)
    with pytest.raises(SystemExit) as stopped:
        run_stage(project, *stage)
    message = str(stopped.value)
    assert message.startswith(f"{stage[0]}: error: ")
    assert "\n" not in message
    assert [word for word in words if word not in message] == []
    assert outputs(project) == before


def test_a_series_shorter_than_its_model_needs_is_refused_when_training(project: Path) -> None:
    own_series("".join(f"{i},{i % 5}\n" for i in range(30)))(project)
    run_stage(project, "series")
    with pytest.raises(SystemExit, match=r"train_ar: error: .*num_train: 60 \+ tau 4 exceed the 30 points"):
        run_stage(project, "train_ar", "linear")


def test_an_error_leaves_the_shell_with_one_line_and_a_code(project: Path) -> None:
    shutil.rmtree(project / "data/text")
    command = [sys.executable, str(ROOT / "stages/ngrams.py")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ngrams: error: ")
    assert done.stderr.count("\n") == 1
    debug = subprocess.run([*command, "--debug"], cwd=project, capture_output=True, text=True, check=False)
    assert "Traceback" in debug.stderr


def test_stages_are_short_and_no_stage_imports_another() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        code = path.read_text()
        assert len(code.splitlines()) <= 60, path
        assert "stages" not in [
            line.split()[1].split(".")[0] for line in code.splitlines() if "import" in line.split()
        ]


def test_a_text_at_hand_with_the_wanted_bytes_needs_no_source(project: Path) -> None:
    before = outputs(project)
    (project / "text.txt").unlink()
    run_stage(project, "download", "timemachine")
    assert outputs(project) == before


def test_forecasts_that_grow_without_bound_are_an_error_that_names_the_model(project: Path) -> None:
    wild = section(project, "train_ar")["mlp"] | {
        "batch_size": 60,
        "num_epochs": 1,
        "optimizer": "sgd",
        "lr": 1000.0,
    }
    change(project, "train_ar", to={"mlp": wild})
    change(project, "backtest", "trained", to={})
    run_stage(project, "train_ar", "mlp")
    before = outputs(project)
    with pytest.raises(SystemExit, match=r"evaluate_forecast: error: train_ar\.mlp: .*grow without bound"):
        run_stage(project, "evaluate_forecast")
    assert outputs(project) == before


def test_all_stages_of_the_graph_are_tested() -> None:
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {stage for stage, *_ in ALL_STAGES} == set(graph) - {"publish"}
