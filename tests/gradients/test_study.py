import json

import pytest
import torch
from tiny import tiny_params, tiny_text

from timemachine.gradients.config import BpttParams
from timemachine.gradients.study import study_gradients
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.plots.gradients import draw_study
from timemachine.text.preparation.prepare import build_corpus

PARAMS = BpttParams(**tiny_params()["bptt"])
CORPUS = build_corpus(
    tiny_text(),
    cleaning="lines",
    level="char",
    order="frequency",
    min_freq=0,
    reserved_tokens=[],
    fractions=(0.8, 0.1, 0.1),
)


def network() -> RNNScratch:
    return RNNScratch(len(CORPUS.vocabulary), 8, generator=torch.Generator().manual_seed(0))


def test_the_figures_need_only_what_the_report_and_the_curves_hold_as_json() -> None:
    report, curves = json.loads(json.dumps(study_gradients(PARAMS, CORPUS, network(), (0, 400)), allow_nan=False))
    figures = draw_study(report, curves)
    assert set(figures) == {"strategies", "gradient_norm", "estimates", "training"}
    norms = {line.get_label(): line.get_ydata() for line in figures["gradient_norm"].axes[0].lines}
    for name, row in report["gradient_norm"].items():
        assert len(norms[name]) == PARAMS.num_lags + 1
        assert {str(k): norms[name][int(k)] for k in row["by_lag"]} == row["by_lag"]
    assert {name: {"nats": curve[-1]} for name, curve in curves["training"].items()} == report["training"]
    assert curves["cuts"]["truncated"] == [0, 3]
    assert len(curves["text"]) == PARAMS.num_steps


def test_a_text_shorter_than_the_longest_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_warmup \+ the longest window, 20 tokens, exceed the 19"):
        study_gradients(PARAMS, CORPUS, network(), (0, 19))
