"""A pipeline small enough to run in a second."""

import hashlib
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from graph import ROOT


def tiny_text(num_words: int = 600, seed: int = 0) -> str:
    """Sentences of few words, so that a tiny model learns something."""
    words = ["the", "time", "traveller", "machine", "it", "was", "of", "a", "grey", "morlock"]
    chosen = np.random.default_rng(seed).choice(words, num_words)
    return "\n".join(" ".join(chosen[i : i + 8]) + "." for i in range(0, num_words, 8)) + "\n"


def random_text(seed: int, num_words: int = 1000) -> str:
    """Words of random letters: no two texts share a run of eight by chance."""
    letters = np.random.default_rng(seed).integers(ord("a"), ord("z") + 1, (num_words, 5), dtype=np.uint8)
    return " ".join(bytes(word).decode() for word in letters) + "\n"


def tiny_params() -> dict[str, Any]:
    """The shipped parameters, made small: two autoregressive models, three recipes, two epochs."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    text = tiny_text().encode()
    content["compute"]["num_threads"] = 1
    content["texts"]["timemachine"] = {"sources": ["text.txt"], "sha256": hashlib.sha256(text).hexdigest()}
    content["ngrams"] |= {"zipf_ranks": [1, 10], "markov_steps": [1, 2]}
    content["ngram_models"] |= {"corpora": {"whole": 4, "words": 2}, "block_length": 10, "num_samples": 20}
    content["series"]["num_points"] = 120
    content["evaluate_forecast"]["k_steps"] = [1, 4]
    content["choose_tau"] = {"taus": [1, 2, 4], "penalties": [1.0]}
    content["backtest"] |= {"num_observed": 64, "num_validation": 40, "horizon": 6, "num_folds": 2, "num_seeds": 2}
    content["backtest"]["trained"] = {"linear": ["recursive"], "mlp": ["direct", "direct_recursive"]}
    content["intervals"] |= {"strategies": ["harmonic", "recursive_ridge"], "num_seeds": 2}
    content["train_ar"] = {name: content["train_ar"][name] | {"num_train": 60} for name in ("linear", "mlp")}
    small = {"num_train": 400, "batch_size": 4, "num_steps": 8, "num_hiddens": 8, "num_epochs": 2}
    content["train_rnn"] = {
        "carried": content["train_rnn"]["e1_scratch_sequential"] | small,
        "windowed": content["train_rnn"]["e2_concise_windows"] | small | {"num_val": 100},
        "gated": content["train_rnn"]["lstm"] | small | {"num_train": None},
    }
    content["evaluate_perplexity"] = {
        "num_warmup": 50,
        "num_streams": 2,
        "prefixes": [{"prefix": "the time", "num_preds": 10}],
    }
    content["dynamic_evaluation"] |= {"models": ["gated"], "num_rms": 100}
    content["context_mixing"] |= {"windows": {"word": 50, "letters": 100}}
    content["context_mixing_networks"] = {"context_mixing_gated": ["gated", "gated_dynamic"]}
    content["compare_models"] |= {
        "mixtures": {
            "arithmetic": {"mean": "arithmetic", "models": ["gated", "kneser_ney_3"]},
            "geometric": {"mean": "geometric", "models": ["gated_dynamic", "kneser_ney_3_adaptive"]},
        },
        "block_length": 10,
        "num_samples": 20,
    }
    content["bptt"] |= {"model": "carried", "num_steps": 6, "tau": 3, "batch_size": 2, "num_warmup": 10}
    content["bptt"] |= {"num_lags": 8, "num_draws": 20, "radii": [0.9, 1.1], "num_hiddens": 5}
    content["bptt"]["training"] |= {"num_train": 200, "batch_size": 4, "num_hiddens": 6, "num_epochs": 2}
    content["retraining"] |= {"min_characters": 500}
    return content


def write_params(folder: Path, content: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def run_stage(folder: Path, name: str, *arguments: str) -> None:
    """Run a stage's script as `python stages/NAME.py ARGUMENTS` would, in a folder."""
    run_script(folder, ROOT / "stages" / f"{name}.py", *arguments)


def run_script(folder: Path, script: Path, *arguments: str) -> None:
    """Run a script as `python SCRIPT ARGUMENTS` would, in a folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        runpy.run_path(str(script), run_name="__main__")


ALL_STAGES = [
    ("check",),
    ("download", "timemachine"),
    ("preprocess",),
    ("ngrams",),
    ("ngram_models",),
    ("series",),
    ("train_ar", "linear"),
    ("train_ar", "mlp"),
    ("evaluate_forecast",),
    ("choose_tau",),
    ("backtest",),
    ("intervals",),
    ("draw_forecasts",),
    ("train_rnn", "carried"),
    ("train_rnn", "windowed"),
    ("train_rnn", "gated"),
    ("evaluate_perplexity", "carried"),
    ("evaluate_perplexity", "windowed"),
    ("evaluate_perplexity", "gated"),
    ("dynamic_evaluation", "gated"),
    ("context_mixing",),
    ("context_mixing_networks",),
    ("context_mixing_parts",),
    ("compare_models",),
    ("draw_language_models",),
    ("learning_curves",),
    ("bptt",),
    ("draw_gradients",),
    ("report",),
    ("report_page",),
]


def make_project(folder: Path) -> None:
    """Put tiny params and the tiny text into a folder."""
    (folder / "text.txt").write_text(tiny_text())
    write_params(folder, tiny_params())


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
