from pathlib import Path

import numpy as np
import pytest
import torch

from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import GREEDY, continue_texts
from timemachine.language.ngrams.config import ContextMixingParams
from timemachine.language.ngrams.reading import read_train_part
from timemachine.language.ngrams.writer import CountedModel, count_corpus
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

TEXT = " ".join(np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat", "and", "dog"], 120))
VOCABULARY = Vocabulary.build(TEXT)
SPLIT = {"train": (0, 300), "val": (300, 375), "test": (375, 400)}
CORPUS = Corpus(np.array(VOCABULARY[list(TEXT)], dtype=np.uint8)[:400], VOCABULARY, "char", 0.0, SPLIT)
PARAMS = ContextMixingParams()


@pytest.fixture(scope="module")
def model() -> CountedModel:
    return CountedModel(read_train_part(CORPUS, PARAMS))


def written(model: CountedModel, prefixes: list[str], sampling: Sampling = GREEDY, seed: int = 0) -> list[str]:
    return continue_texts(model, CORPUS.tokenizer, prefixes, [40] * len(prefixes), sampling, seed)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling()], ids=["greedy", "drawn"])
def test_it_writes_words_that_it_has_read(model: CountedModel, sampling: Sampling) -> None:
    text = written(model, ["the mat a"], sampling)[0]
    assert len(text) == len("the mat a") + 40
    assert len({*text.split()[2:-1]} & {*TEXT.split()}) > 2


def test_a_text_in_pieces_is_predicted_as_the_whole(model: CountedModel) -> None:
    text = torch.tensor([CORPUS.tokenizer.encode("a dog sat")])
    log_P, _ = model(text, None)
    assert log_P.shape == (1, 9, len(VOCABULARY))
    torch.testing.assert_close(log_P.exp().sum(-1), torch.ones(1, 9, dtype=torch.float64))
    first, state = model(text[:, :4], None)
    rest, _ = model(text[:, 4:], state)
    assert torch.equal(torch.cat([first, rest], 1), log_P)


def test_a_text_does_not_continue_the_word_that_the_train_part_ends_in() -> None:
    tokens = np.array(VOCABULARY[list("the cat " * 20 + "ca" + "t the cat")], dtype=np.uint8)
    split = {"train": (0, 162), "val": (162, 165), "test": (165, 171)}
    mixture = read_train_part(Corpus(tokens, VOCABULARY, "char", 0.0, split), PARAMS)
    assert written(CountedModel(mixture), ["t"])[0].startswith("the ")


def test_nothing_is_learnt_from_what_it_writes() -> None:
    mixture, untouched = (read_train_part(CORPUS, PARAMS) for _ in range(2))
    counted = CountedModel(mixture)
    once = written(counted, ["dog dog dog dog dog dog "], Sampling(), 1)
    assert written(counted, ["dog dog dog dog dog dog "], Sampling(), 1) == once
    assert mixture.read(CORPUS.part("val")).tobytes() == untouched.read(CORPUS.part("val")).tobytes()


@pytest.mark.parametrize(
    "sampling", [Sampling(alpha=0.5), Sampling(alpha=2.0), Sampling(top_k=2), Sampling(top_p=0.9)], ids=str
)
def test_a_seed_determines_what_is_drawn(model: CountedModel, sampling: Sampling) -> None:
    first, again, other = (written(model, ["the "], sampling, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("sampling", [Sampling(top_k=1), Sampling(top_p=1e-9), Sampling(alpha=1e9)], ids=str)
def test_draws_from_the_most_probable_token_are_greedy(model: CountedModel, sampling: Sampling) -> None:
    assert written(model, ["the "], sampling, 1) == written(model, ["the "])


def test_prefixes_side_by_side_are_continued_as_each_alone(model: CountedModel) -> None:
    prefixes = ["d", "on the log and the ca", "mat"]
    alone = [written(model, [prefix])[0] for prefix in prefixes]
    assert written(model, prefixes) == alone


def test_a_prefix_of_unknown_characters_is_continued(model: CountedModel) -> None:
    text = written(model, ["ЖЖЖ"])[0]
    assert text.startswith("<unk><unk><unk>")
    assert {*text.replace("<unk>", "")} <= {*TEXT}


def test_a_saved_corpus_is_counted(tmp_path: Path, model: CountedModel) -> None:
    CORPUS.save(tmp_path)
    counted, tokenizer = count_corpus(tmp_path, PARAMS)
    assert continue_texts(counted, tokenizer, ["the "], [40]) == written(model, ["the "])


def test_a_corpus_that_cannot_be_counted_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary\.json"):
        count_corpus(tmp_path, PARAMS)
    split = {"train": (0, 1), "val": (1, 2), "test": (2, 3)}
    Corpus(CORPUS.tokens[:3], VOCABULARY, "char", 0.0, split).save(tmp_path)
    with pytest.raises(UserError, match=r"^context_mixing: num_passes: 2 needs a train part of at least 2 tokens"):
        count_corpus(tmp_path, PARAMS)
