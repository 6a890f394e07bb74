from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from graph import ROOT
from tiny import tiny_params, write_params

from timemachine.base.errors import UserError
from timemachine.forecasting.strategies.candidates import CANDIDATES
from timemachine.language.models.config import RnnRecipe
from timemachine.pipeline import params


def changed(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        section = content
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = to

    return change


BAD = {
    "an experiment that cannot be printed": (
        changed("publish", "experiment", to="a\0b"),
        ["publish.experiment", "'a\\x00b'", "printable"],
    ),
    "an experiment without a name": (changed("publish", "experiment", to=" "), ["publish.experiment", "' '"]),
    "an experiment that MLflow refuses": (changed("publish", "experiment", to="x" * 501), ["500 characters"]),
    "a wrong key": (
        changed("train_rnn", "carried", "num_hidden", to=8),
        ["train_rnn.carried.num_hidden", "num_hiddens"],
    ),
    "an unknown section": (changed("trian", to={}), ["trian", "unknown key", "train_ar"]),
    "a mixture of an unknown model": (
        changed("compare_models", "mixtures", "geometric", "models", to=["gated", "carried"]),
        ["compare_models.mixtures.geometric", "'carried'", "gated, gated_dynamic, windowed", "kneser_ney_<order>"],
    ),
    "a model mixed with itself": (
        changed("compare_models", "mixtures", "geometric", "models", to=["gated", "gated"]),
        ["compare_models.mixtures.geometric.models", "duplicate entry 'gated'"],
    ),
    "a recipe under a name that is taken": (
        changed("train_rnn", "gated_dynamic", to=tiny_params()["train_rnn"]["gated"]),
        ["train_rnn.gated_dynamic", "'_dynamic'"],
    ),
    "dynamic evaluation of another corpus's model": (
        changed("dynamic_evaluation", "models", to=["carried"]),
        ["dynamic_evaluation.models", "'carried'", "'whole'", "gated, windowed"],
    ),
    "a context mixture with an unknown network": (
        changed("context_mixing_networks", "context_mixing_gated", to=["gated", "carried"]),
        ["context_mixing_networks.context_mixing_gated", "'carried'", "gated, gated_dynamic, windowed"],
    ),
    "a context mixture under another model's name": (
        changed("context_mixing_networks", to={"gated": ["gated"]}),
        ["context_mixing_networks.gated", "must begin with 'context_mixing_'"],
    ),
    "a comparison without n-gram models": (
        changed("compare_models", "corpus", to="lines"),
        ["compare_models.corpus", "'lines'", "whole, words"],
    ),
    "early stopping on nothing": (
        changed("train_rnn", "gated", "num_val", to=0),
        ["train_rnn.gated", "patience", "num_val is 0"],
    ),
    "dropout from scratch": (
        changed("train_rnn", "carried", "dropout", to=0.5),
        ["train_rnn.carried", "scratch has no dropout"],
    ),
    "dropped weights of a plain cell": (
        changed("train_rnn", "windowed", "weight_dropout", to=0.5),
        ["train_rnn.windowed", "weight_dropout", "gru and lstm"],
    ),
    "a wrong type": (
        changed("train_rnn", "carried", "batch_size", to="many"),
        ["carried.batch_size", "'many'", "integer"],
    ),
    "text for a number": (
        changed("train_ar", "mlp", "lr", to="1e-3"),
        ["train_ar.mlp.lr", "write 0.001, not 1e-3"],
    ),
    "a fraction for a count": (changed("train_ar", "mlp", "tau", to=4.5), ["train_ar.mlp.tau", "4.5", "integer"]),
    "truth for a number": (changed("train_ar", "mlp", "seed", to=True), ["train_ar.mlp.seed", "True", "integer"]),
    "out of range": (
        changed("train_rnn", "carried", "lr", to=-1.0),
        ["train_rnn.carried.lr", "-1.0", "greater than 0"],
    ),
    "not a number": (changed("train_rnn", "carried", "lr", to=float("nan")), ["train_rnn.carried.lr", "finite"]),
    "an unknown corpus": (
        changed("train_rnn", "carried", "corpus", to="odd"),
        ["carried.corpus", "'odd'", "lines, whole"],
    ),
    "an unknown level": (
        changed("preprocess", "corpora", "lines", "level", to="syllable"),
        ["preprocess.corpora.lines.level", "'syllable'", "'char' or 'word'"],
    ),
    "an unknown precision": (
        changed("train_rnn", "carried", "precision", to="float16"),
        ["carried.precision", "'float16'", "'float32', 'tf32' or 'bfloat16'"],
    ),
    "an unknown device": (
        changed("train_rnn", "carried", "device", to="gpu"),
        ["carried.device", "'gpu'", "cuda:N"],
    ),
    "an unknown sampling": (
        changed("train_rnn", "carried", "sampling", to="all"),
        ["carried.sampling", "'windows'"],
    ),
    "a corpus of the wrong level": (
        changed("ngrams", "corpus", to="lines"),
        ["ngrams.corpus", "'lines'", "level: word", "allowed: words"],
    ),
    "n-gram models of an unknown corpus": (
        changed("ngram_models", "corpora", to={"odd": 3}),
        ["ngram_models.corpora", "'odd'", "lines, whole"],
    ),
    "an order of nothing": (
        changed("ngram_models", "corpora", "lines", to=0),
        ["ngram_models.corpora.lines", "0", "greater than or equal to 1"],
    ),
    "an impossible scratch model": (changed("train_rnn", "carried", "cell", to="lstm"), ["scratch", "cell: rnn"]),
    "no detaching where none is": (
        changed("train_rnn", "windowed", "detach", to=False),
        ["detach: false", "sequential"],
    ),
    "a hidden layer of a linear model": (changed("train_ar", "linear", "num_hiddens", to=3), ["linear", "null"]),
    "a split that is not whole": (
        changed("preprocess", "split", "test", to=0.3),
        ["preprocess.split", "must be 1"],
    ),
    "a name that leaves the folder": (changed("train_rnn", "../x", to={}), ["'../x'", "lower-case letters"]),
    "a series elsewhere": (changed("series", "csv", to="../x.csv"), ["series.csv", "'../x.csv'", "data/own/"]),
    "a source over http": (
        changed("texts", "timemachine", "sources", to=["http://h/x"]),
        ["'http://h/x'", "https URL"],
    ),
    "a short hash": (
        changed("texts", "timemachine", "sha256", to="8424"),
        ["texts.timemachine.sha256", "64 hexadecimal digits"],
    ),
    "an encoding of no text": (
        changed("texts", "timemachine", "encoding", to="rot13"),
        ["texts.timemachine.encoding", "'rot13'", "windows-1252"],
    ),
    "a corpus of an unknown text": (
        changed("preprocess", "corpora", "lines", "texts", to=["book"]),
        ["preprocess.corpora.lines.texts", "'book'", "allowed: timemachine"],
    ),
    "the section of an earlier version": (
        changed("download", to={"sources": ["text.txt"], "sha256": "8424"}),
        ["download: sources and sha256 belong to an entry of texts", "lines: {texts: [timemachine]"],
    ),
    "a series too short for its model": (changed("train_ar", "mlp", "num_train", to=118), ["train_ar.mlp", "126"]),
    "a backtest longer than the series": (
        changed("backtest", "num_observed", to=115),
        ["backtest", "= 121", "120"],
    ),
    "origins before the series": (
        changed("backtest", "num_validation", to=64),
        ["backtest", "num_validation: 64", "below num_observed = 64"],
    ),
    "a horizon without room before the first origin": (
        changed("backtest", "num_validation", to=55),
        ["backtest", "horizon: 6 must be at most half", "= 9"],
    ),
    "a strategy of an unknown model": (
        changed("backtest", "trained", to={"cnn": ["direct"]}),
        ["backtest.trained", "'cnn'", "linear, mlp"],
    ),
    "an unknown strategy": (
        changed("backtest", "trained", to={"mlp": ["best"]}),
        ["backtest.trained.mlp", "'best'", "'recursive', 'direct', 'multi_output' or 'direct_recursive'"],
    ),
    "lags longer than what is known": (changed("choose_tau", "taus", to=[13, 20]), ["choose_tau.taus", "24"]),
    "intervals of a strategy that needs training": (
        changed("intervals", "strategies", to=["recursive_mlp"]),
        ["intervals.strategies", "'recursive_mlp'", "harmonic", "ridge"],
    ),
    "a level that past errors are too few for": (
        changed("intervals", "levels", to=[0.9, 0.99]),
        ["intervals.levels: 0.99 needs 99 past errors", "there are 35", "backtest.num_validation"],
    ),
    "a learning rate beyond reason": (changed("train_ar", "mlp", "lr", to=1e300), ["train_ar.mlp.lr", "1000000"]),
    "a study of an unknown model": (
        changed("bptt", "model", to="best"),
        ["bptt.model", "'best'", "allowed: carried"],
    ),
    "a study of a model not from scratch": (
        changed("bptt", "model", to="windowed"),
        ["bptt.model", "'windowed'", "allowed: carried"],
    ),
    "a study on another corpus than its model's": (
        changed("bptt", "corpus", to="whole"),
        ["bptt.model", "'carried'"],
    ),
    "a segment longer than its window": (changed("bptt", "tau", to=7), ["bptt", "tau: 7", "num_steps, 6"]),
    "no recipe": (changed("train_rnn", to={}), ["train_rnn", "at least 1"]),
    "an empty section": (changed("train_rnn", "carried", to=None), ["train_rnn.carried", "None"]),
}


def test_the_shipped_parameters_are_valid() -> None:
    assert len(params.load(ROOT / "params.yaml").train_rnn) == 6


def test_every_forecaster_that_needs_no_training_may_have_intervals(tmp_path: Path) -> None:
    content = tiny_params()
    content["intervals"]["strategies"] = list(CANDIDATES)
    write_params(tmp_path, content)
    assert params.load(tmp_path / "params.yaml").intervals.strategies == list(CANDIDATES)


def test_parameters_cannot_be_changed_by_accident() -> None:
    loaded = params.load(ROOT / "params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        loaded.publish.experiment = "other"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_parameter_ends_in_one_line_with_key_and_remedy(case: str, tmp_path: Path) -> None:
    change, words = BAD[case]
    content = tiny_params()
    change(content)
    write_params(tmp_path, content)
    with pytest.raises(ValueError, match=r"params\.yaml: ") as raised:
        params.load(tmp_path / "params.yaml")
    message = str(raised.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    "content",
    [b"a: [1", b"\xff\xfe\xfa", b"", b"- 1", b"a: !!python/object:os.system {}", b"a: !!int x", b"[" * 9999],
)
def test_a_file_that_is_no_parameter_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"params\.yaml: "):
        params.load(path)


def test_a_value_that_would_take_days_to_write_out_is_refused_in_one_short_line(tmp_path: Path) -> None:
    aliases = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 13))
    content = yaml.safe_dump(tiny_params(), sort_keys=False)
    for value in ("*a12", "0x" + "f" * 6000):
        text = f"a0: &a0 [x]\n{aliases}\n{content}".replace("csv: null", f"csv: {value}")
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"params\.yaml: series\.csv: .{,70} should be a string"):
            params.load(tmp_path / "params.yaml")


def test_a_missing_parameter_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        params.load(tmp_path / "params.yaml")


def test_a_value_that_dvc_changes_is_one_changed_line(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(before)
    apply_overrides(path, ["train_rnn.lstm.seed=1"])  # what `dvc exp run -S` calls
    after = path.read_text()
    changed = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert changed == [("    seed: 0", "    seed: 1")]


@pytest.mark.parametrize("name", ["train_rnn.lstm", "lstm"])
def test_a_recipe_is_printed_with_the_knobs_that_it_leaves_out(name: str) -> None:
    shown = yaml.safe_load(params.in_full(params.load(ROOT / "params.yaml"), name))["train_rnn"]["lstm"]
    assert list(shown) == list(RnnRecipe.model_fields)
    assert (shown["num_hiddens"], shown["num_layers"]) == (512, 1)


def test_an_entry_that_does_not_exist_is_not_printed() -> None:
    with pytest.raises(UserError, match=r"'nope': no section or entry of params\.yaml"):
        params.in_full(params.load(ROOT / "params.yaml"), "nope")


def test_every_knob_has_a_comment_where_it_stands_first() -> None:
    text = (ROOT / "params.yaml").read_text()
    commented = {line.split(":")[0].strip() for line in text.splitlines() if "#" in line}
    recipes = yaml.safe_load(text)
    knobs = set(recipes["train_rnn"]["e1_scratch_sequential"]) | set(recipes["train_ar"]["linear"])
    assert knobs - commented <= {"num_epochs", "seed"}
