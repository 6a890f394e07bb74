from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.base.errors import UserError
from timemachine.language.ngrams import context_mixing, kneser_ney, tables
from timemachine.language.ngrams.config import ContextMixingParams, Windows
from timemachine.language.ngrams.context_mixing import ContextMixing
from timemachine.language.ngrams.contexts import LETTERS
from timemachine.language.ngrams.experts import CHAINS, STATE_MAPS, Layout
from timemachine.language.ngrams.reading import (
    PARTS_LEFT_OUT,
    leave_parts_out,
    read_adaptive_kneser_ney,
    read_context_mixing,
    read_train_part,
    read_with_networks,
)
from timemachine.text.tokens.corpus import HELD_OUT, Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

Tokens = Sequence[int]

VOCABULARY = ["<unk>", "a", " ", "b", "y"]
LAYOUT = Layout(CHAINS, [("current", 7), ("o5", 11)], STATE_MAPS)
KINDS = (*CHAINS, "cache", "states")
# Mixers that lack one part each, and mixers of one kind of experts.
WITHOUT = [*PARTS_LEFT_OUT.values(), *([other for other in KINDS if other != kind] for kind in KINDS)]
PARAMS = ContextMixingParams(windows=Windows(word=7, letters=11))
ONE_PASS = PARAMS.model_copy(update={"num_passes": 1})

texts = st.lists(st.integers(1, 4), min_size=1, max_size=60)
few = settings(max_examples=30)


def mixing(
    vocabulary: Sequence[str] = VOCABULARY, without: Any = WITHOUT, layout: Layout = LAYOUT
) -> ContextMixing:
    return ContextMixing(vocabulary, layout, 0.02, without)


def words(num_tokens: int, seed: int = 0) -> np.ndarray:
    """A text of six words, in the alphabet of `VOCABULARY`."""
    spelt = np.random.default_rng(seed).choice(["ab", "baby", "a", "yab", "bay", "abba"], num_tokens)
    return np.array([VOCABULARY.index(c) for c in " ".join(spelt)[:num_tokens]], dtype=np.uint8)


def corpus_of(tokens: Tokens | np.ndarray, num_train: int, vocabulary: Sequence[str] = VOCABULARY) -> Corpus:
    """A corpus whose test part is its last token."""
    last = len(tokens) - 1
    split = {"train": (0, num_train), "val": (num_train, last), "test": (last, last + 1)}
    return Corpus(np.array(tokens, dtype=np.uint8), Vocabulary(vocabulary), "char", 0.0, split)


def held_out(corpus: Corpus) -> np.ndarray:
    return corpus.tokens[corpus.split["val"][0] :]


def assert_distributions(log_P: np.ndarray) -> None:
    assert np.isfinite(log_P).all()
    np.testing.assert_allclose(np.exp(log_P).sum(-1), 1, rtol=0, atol=1e-12)


def experts_at(model: ContextMixing) -> tuple[np.ndarray, np.ndarray]:
    """What the experts and the selectors of the mixer said of the token that was read last."""
    return model._state.experts.P[:-1].copy(), model._state.chosen.copy()


@few
@given(texts, st.sampled_from([ONE_PASS, PARAMS]))
def test_all_experts_and_mixtures_are_distributions_at_every_position(
    text: Tokens, p: ContextMixingParams
) -> None:
    corpus = corpus_of([1, 2, *text, 3, 4], 2 + len(text) // 2)
    model = read_train_part(corpus, p, WITHOUT)
    for t in range(len(held_out(corpus))):
        assert_distributions(model.read(held_out(corpus)[t : t + 1]))
        assert_distributions(np.log(experts_at(model)[0]))


@given(texts, texts, texts)
def test_nothing_after_a_position_changes_any_mixture_up_to_it(before: Tokens, one: Tokens, other: Tokens) -> None:
    first, second = (mixing().read(np.array([*before, *after]))[: len(before) + 1] for after in (one, other))
    assert first.tobytes() == second.tobytes()


@few
@given(texts, texts, texts, st.data())
def test_with_two_passes_neither_from_the_start_of_validation_on(
    before: Tokens, one: Tokens, other: Tokens, data: st.DataObject
) -> None:
    before = [1, 2, *before]
    num_train = data.draw(st.integers(2, len(before)))
    first, second = (
        read_train_part(corpus, PARAMS, WITHOUT).read(held_out(corpus))[: len(before) - num_train + 1]
        for corpus in (corpus_of([*before, *after, 1], num_train) for after in (one, other))
    )
    assert first.tobytes() == second.tobytes()


@given(texts)
def test_no_expert_or_selector_knows_the_token_that_it_predicts(before: Tokens) -> None:
    said = []
    for token in range(len(VOCABULARY)):
        model = mixing()
        model.learn(np.array([*before, token]))
        said.append([array.tobytes() for array in experts_at(model)])
    assert said == said[:1] * len(VOCABULARY)


@pytest.fixture
def known_discounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kneser–Ney models estimate discounts as tables do, with counts of counts that begin at `PRIOR`."""

    def discounts(counts: np.ndarray) -> tuple[float, float, float]:
        return tables.estimate_discounts(*(np.bincount(counts, minlength=5)[1:5] + tables.PRIOR))

    monkeypatch.setattr(kneser_ney, "_discounts", discounts)


RANDOM = np.random.default_rng(0)


@pytest.mark.usefixtures("known_discounts")
@pytest.mark.parametrize(
    "text",
    [words(150), RANDOM.integers(1, 5, 80), np.full(40, 3), np.tile([1, 3], 20), words(5)],
    ids=["words", "random", "one character", "two characters", "short"],
)
def test_a_chain_is_kneser_ney_counted_anew_at_each_position(text: np.ndarray) -> None:
    vocab_size = len(VOCABULARY)
    layouts = [Layout({"letters": (LETTERS[:order], 1)}) for order in range(1, 10)]
    chains = [ContextMixing(VOCABULARY, layout, 0.0).read(text)[:, 0] for layout in layouts]
    # <unk> is not in the text, so that contexts which reach before its beginning are new ones.
    padded = np.concatenate([np.zeros(8, dtype=int), text])
    for t in range(len(text)):
        model = kneser_ney.KneserNey(text[:t].astype(np.int64), vocab_size, 9)
        for order, log_P in enumerate(chains, 1):
            expected = model.distributions(padded[None, t + 9 - order : t + 8])[0]
            np.testing.assert_allclose(np.exp(log_P[t]), expected, rtol=1e-12, err_msg=f"order {order}, place {t}")


@pytest.mark.usefixtures("known_discounts")
def test_adaptive_kneser_ney_reads_the_train_part_before_it_is_scored() -> None:
    corpus = corpus_of(words(120), 90)
    log_P = read_adaptive_kneser_ney(corpus, 4, 90)["val.log_P"]
    for t in range(90, 119):
        model = kneser_ney.KneserNey(corpus.tokens[:t].astype(np.int64), len(VOCABULARY), 4)
        expected = model.distributions(corpus.tokens[None, t - 3 : t])[0]
        np.testing.assert_allclose(np.exp(log_P[t - 90]), expected, rtol=1e-6)


@few
@given(st.lists(st.integers(0, 300), max_size=6), st.integers(1, 50))
def test_a_text_in_pieces_has_the_bytes_of_the_whole(cuts: list[int], block: int) -> None:
    text = words(300)
    whole = mixing().read(text)
    # From tables that are as small as possible, so that they grow and move.
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(context_mixing, "_BLOCK", block)
        monkeypatch.setattr(tables, "_LEAST_SLOTS", 1)
        monkeypatch.setattr(tables, "_LEAST_NODES", 1)
        model = mixing()
        pieces = [model.read(piece) for piece in np.split(text, sorted(cuts))]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_a_long_text_has_the_same_bytes_on_each_run() -> None:
    first, second = (read_context_mixing(corpus_of(words(6000), 5000), PARAMS) for _ in range(2))
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in second.items()}


def bits(text: Tokens | np.ndarray, vocabulary: Sequence[str] = VOCABULARY) -> float:
    """Mean bits of a token, by all mixers on average; all predictions are distributions."""
    tokens = np.array(text, dtype=np.uint8)
    log_P = mixing(vocabulary).read(tokens)
    assert_distributions(log_P)
    return float(-log_P[np.arange(len(tokens)), :, tokens].mean() / np.log(2))


def test_one_repeated_character_is_soon_expected() -> None:
    assert bits([3] * 5000) < 0.02


def test_two_characters_in_turn_are_soon_expected() -> None:
    assert bits([1, 3] * 1000) < 0.05


@pytest.mark.parametrize("num_characters", [2, 4])
def test_random_characters_cost_little_more_than_their_entropy(num_characters: int) -> None:
    entropy = np.log2(num_characters)
    assert entropy - 0.03 < bits(RANDOM.integers(1, num_characters + 1, 5000)) < entropy + 0.15


@pytest.mark.parametrize("length", range(4))
def test_a_text_shorter_than_the_contexts_is_read(length: int) -> None:
    log_P = mixing().read(np.array([3, 1, 2][:length], dtype=np.uint8))
    assert log_P.shape == (length, len(WITHOUT), len(VOCABULARY))
    assert_distributions(log_P)


def test_the_first_prediction_is_uniform() -> None:
    np.testing.assert_allclose(mixing().read(np.array([1])), -np.log(len(VOCABULARY)), rtol=1e-12)


@pytest.mark.parametrize(
    "vocabulary",
    [
        ["<unk>"],
        ["<unk>", "a"],
        ["<unk>", *"abcd"],
        ["<unk>", *"-+ ."],
        ["<unk>", *map(chr, range(0x4E00, 0x4EFF))],
    ],
    ids=["unk", "one letter", "letters", "separators", "256"],
)
def test_any_vocabulary_of_at_most_256_tokens_is_read(vocabulary: list[str]) -> None:
    assert bits(RANDOM.integers(0, len(vocabulary), 200), vocabulary) < np.log2(len(vocabulary)) + 0.5


def test_a_vocabulary_of_257_tokens_is_refused() -> None:
    with pytest.raises(UserError, match=r"^context mixing needs a vocabulary of at most 256 tokens, .* has 257$"):
        read_context_mixing(corpus_of([1] * 20, 10, [*"<unk>", "<unk>", *map(chr, range(1000, 1251))]), PARAMS)


@pytest.mark.parametrize("num_passes", [1, 2])
def test_it_learns_from_the_last_tokens_of_the_train_part(num_passes: int) -> None:
    text = words(200)
    p = PARAMS.model_copy(update={"max_tokens": 70, "num_passes": num_passes})
    limited, short = (
        read_context_mixing(c, p)["val.log_P"] for c in (corpus_of(text, 150), corpus_of(text[80:], 70))
    )
    assert limited.tobytes() == short.tobytes()


def test_a_train_part_too_short_for_two_passes_is_refused() -> None:
    corpus = corpus_of([1, 2, 3], 1)
    read_train_part(corpus, ONE_PASS)
    with pytest.raises(UserError, match=r"^num_passes: 2 needs a train part of at least 2 tokens; it has 1$"):
        read_train_part(corpus, PARAMS)


def test_numbers_of_tokens_have_no_meaning() -> None:
    vocabulary = ["<unk>", " ", *"abcdefghijklmnopqrstuvwxyz"]
    order = np.random.default_rng(0).permutation(len(vocabulary))  # the new number of each token
    text = np.random.default_rng(1).integers(-4, len(vocabulary), 12_000).clip(1)  # 2,000 different words
    permuted = mixing([vocabulary[i] for i in np.argsort(order)], [()]).read(order[text])
    np.testing.assert_allclose(permuted[..., order], mixing(vocabulary, [()]).read(text), rtol=0, atol=1e-12)


def test_words_are_separated_by_any_token_that_is_no_letter_or_digit() -> None:
    text = words(300)
    spaces, dashes, letters = (
        mixing([c if token == " " else token for token in VOCABULARY]).read(text).tobytes() for c in " -x"
    )
    assert spaces == dashes != letters


def last_word(text: Tokens) -> tuple[int, ...]:
    """The word that a text ends in; 0 and 2 separate words."""
    return tuple(text[len(text) - next((i for i, x in enumerate(reversed(text)) if x in (0, 2)), len(text)) :])


@given(texts, st.integers(1, 70), st.integers(1, 70))
def test_a_window_counts_the_last_tokens_only(text: list[int], for_word: int, for_letters: int) -> None:
    text = [1, *text]
    layout = Layout({"words": CHAINS["words"]}, [("current", for_word), ("o1", for_letters)])
    model = mixing(without=((),), layout=layout)
    for t, token in enumerate(text):
        model.learn(np.array([token]))
        lower, *cached = experts_at(model)[0][-3:]
        for P, window, key in zip(cached, (for_word, for_letters), (last_word, lambda x: x[-1:]), strict=True):
            places = range(max(t - window, 0), t)
            seen = [text[p] for p in places if key(text[:p]) == key(text[:t]) and (p > 0 or key is last_word)]
            n = np.bincount(seen, minlength=len(VOCABULARY))
            np.testing.assert_allclose(P, (n + lower) / (len(seen) + 1), rtol=1e-12)


SURE, UNSURE = np.log([0.96, 0.01]), np.log([0.2, 0.2])


def network(corpus: Corpus, log_P: np.ndarray) -> dict[str, np.ndarray]:
    """Readings of a network that gives the token that comes, and each of the others, a log P."""
    return {f"{part}.log_P": log_P[1 - np.eye(len(VOCABULARY), dtype=int)[corpus.part(part)]] for part in HELD_OUT}


def test_a_network_that_knows_the_text_helps() -> None:
    corpus = corpus_of(words(400), 200)
    sure, unsure = (network(corpus, log_P) for log_P in (SURE, UNSURE))
    mixed = read_with_networks(corpus, PARAMS, {"sure": [sure], "unsure": [unsure]})
    alone = read_context_mixing(corpus, PARAMS)
    assert mixed["sure"]["val"].mean() < 0.5 * alone["val"].mean()
    assert mixed["unsure"]["val"].mean() == pytest.approx(alone["val"].mean(), rel=0.1)
    for readings in mixed.values():
        np.testing.assert_allclose(np.exp(readings["val.log_P"]).sum(-1), 1, rtol=0, atol=1e-6)


def test_several_networks_join_as_their_geometric_mean() -> None:
    corpus = corpus_of(words(100), 60)
    sure, unsure = (network(corpus, log_P) for log_P in (SURE, UNSURE))
    mean = network(corpus, (SURE + UNSURE) / 2)
    mixed = read_with_networks(corpus, PARAMS, {"both": [sure, unsure], "mean": [mean]})
    assert mixed["both"]["val.log_P"] == pytest.approx(mixed["mean"]["val.log_P"], abs=1e-6)


def test_mixtures_with_networks_do_not_know_each_other() -> None:
    corpus = corpus_of(words(100), 60)
    sure, unsure = (network(corpus, log_P) for log_P in (SURE, UNSURE))
    beside, alone = (
        read_with_networks(corpus, PARAMS, networks)["unsure"]["val.log_P"]
        for networks in ({"sure": [sure], "unsure": [unsure]}, {"unsure": [unsure]})
    )
    assert beside.tobytes() == alone.tobytes()


def test_a_network_is_heard_at_its_own_place_and_after_it() -> None:
    corpus = corpus_of(words(100), 60)
    first, second = network(corpus, SURE), network(corpus, SURE)
    second["val.log_P"] = second["val.log_P"].copy()
    second["val.log_P"][20:] = -np.log(len(VOCABULARY))
    one, other = (read_with_networks(corpus, PARAMS, {"n": [n]})["n"]["val.log_P"] for n in (first, second))
    assert one[:20].tobytes() == other[:20].tobytes()
    assert (one[20:] != other[20:]).any(1).all()


def test_each_part_that_is_left_out_has_a_row() -> None:
    corpus = corpus_of(words(400), 200)
    rows = leave_parts_out(corpus, PARAMS)
    assert list(rows) == list(PARTS_LEFT_OUT)
    whole = read_context_mixing(corpus, PARAMS)["val"].mean() / np.log(2)
    assert rows["nothing"] == {"bits_per_character": pytest.approx(whole, rel=1e-12), "more": 0.0}
    one_pass = read_context_mixing(corpus, ONE_PASS)["val"].mean() / np.log(2)
    assert rows["first pass"]["bits_per_character"] == pytest.approx(one_pass, rel=1e-12)
    assert len({row["bits_per_character"] for row in rows.values()}) == len(rows)
    for row in rows.values():
        assert row["more"] == pytest.approx(row["bits_per_character"] - whole, abs=1e-12)


def test_a_mixer_without_a_kind_of_experts_is_that_of_a_layout_without_it() -> None:
    text, chains = words(200), {name: chain for name, chain in CHAINS.items() if name != "word classes"}
    without = mixing(without=[("word classes", "cache", "states")]).read(text)
    small = mixing(without=[()], layout=Layout(chains)).read(text)
    np.testing.assert_allclose(without, small, rtol=0, atol=1e-11)


def test_without_networks_there_are_no_mixtures_with_them() -> None:
    assert read_with_networks(corpus_of(words(100), 60), PARAMS, {}) == {}


def test_a_window_longer_than_the_text_is_the_whole_text() -> None:
    corpus = corpus_of(words(200), 100)
    long, longest = (
        read_context_mixing(corpus, PARAMS.model_copy(update={"windows": Windows(word=n, letters=n)}))["val.log_P"]
        for n in (200, 10**9)
    )
    assert long.tobytes() == longest.tobytes()
