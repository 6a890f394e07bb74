import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from timemachine.base.errors import UserError
from timemachine.language.ngrams import memory
from timemachine.language.ngrams.config import NgramModelsParams
from timemachine.language.ngrams.memory import check_memory, estimate_memory
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<unk>", *(f"w{i}" for i in range(1999))])
# As in a language, the frequency of a token falls with its rank, and new n-grams never cease.
TOKENS = np.minimum(np.random.default_rng(0).zipf(1.2, 500_000) - 1, 1999).astype(np.uint16)


def corpus(num_tokens: int) -> Corpus:
    cuts = [0, *(int(num_tokens * share) for share in (0.8, 0.9, 1.0))]
    split = {part: (cuts[i], cuts[i + 1]) for i, part in enumerate(("train", "val", "test"))}
    return Corpus(TOKENS[:num_tokens], VOCABULARY, "word", 0.0, split)  # type: ignore[arg-type]


def params(order: int, **knobs: float) -> NgramModelsParams:
    return NgramModelsParams(corpora={"words": order}, **knobs)  # type: ignore[arg-type]


def test_models_that_do_not_fit_are_refused_with_the_order_that_does() -> None:
    needed = estimate_memory(corpus(500_000), 6, params(6))
    assert needed[2] < needed[3] < needed[4] < needed[5]
    between = round((needed[3] + needed[4]) / 2, 4)
    with pytest.raises(UserError) as error:
        check_memory({"words": corpus(500_000)}, params(6, max_memory=between))
    assert str(error.value) == (
        f"ngram_models.corpora.words: order 6 needs about {needed[5]:.2f} GB; "
        f"ngram_models.max_memory is {between:g}; order 4 fits"
    )
    check_memory({"words": corpus(500_000)}, params(4, max_memory=between))


def test_where_no_order_fits_the_smallest_need_is_named() -> None:
    with pytest.raises(UserError, match=r"max_memory is 0.01; order 1 needs 0.\d\d GB$"):
        check_memory({"words": corpus(1000)}, params(2, max_memory=0.01))


def test_a_vocabulary_and_an_order_may_be_large() -> None:
    check_memory({"words": corpus(1000)}, params(100))  # 2000¹⁰⁰ is no float


def test_the_numbers_of_distinct_n_grams_are_estimated_from_above_on_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = memory.estimate_memory(corpus(500_000), 4, params(4))  # all of it is counted
    monkeypatch.setattr(memory, "_SAMPLE", 2**17)
    estimated = memory.estimate_memory(corpus(500_000), 4, params(4))
    for exact, upper in zip(counted, estimated, strict=True):
        assert exact <= upper * 1.001
        assert upper < 1.5 * exact


def test_the_estimate_is_above_the_peak_of_a_process_and_below_twice_the_peak(tmp_path: Path) -> None:
    corpus(500_000).save(tmp_path)
    code = (
        "import re, sys, timemachine.plots.language\n"
        "from pathlib import Path\n"
        "from timemachine.language.ngrams.evaluation import evaluate_ngram_models\n"
        "from timemachine.language.ngrams.config import NgramModelsParams\n"
        "from timemachine.text.tokens.corpus import Corpus\n"
        "p = NgramModelsParams(corpora={'words': 4}, num_samples=50)\n"
        "evaluate_ngram_models(Corpus.load(sys.argv[1]), 4, p)\n"
        # Not `resource.getrusage`, whose peak includes that of the process that started this one.
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    )
    printed = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True)
    peak = int(printed.stdout) * 1024 / 1e9
    assert peak < estimate_memory(corpus(500_000), 4, params(4, num_samples=50))[-1] < 2 * peak
