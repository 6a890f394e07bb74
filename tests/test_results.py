"""The results in git are those that the book leads one to expect."""

import json
from typing import Any

import pytest
from graph import ROOT


def report(name: str) -> Any:
    return json.loads((ROOT / f"data/reports/{name}.json").read_text())


@pytest.mark.parametrize(
    ("recipe", "worst"),
    [("e1_scratch_sequential", 1.1), ("e1_scratch_random", 1.7), ("e1_concise_sequential", 1.35)],
)
def test_the_first_editions_recipes_reach_the_published_train_perplexity(recipe: str, worst: float) -> None:
    assert 1 <= report("training")[recipe]["perplexity"] <= worst


@pytest.mark.parametrize("recipe", ["e2_scratch_windows", "e2_concise_windows"])
def test_the_second_editions_recipes_reach_the_published_validation_perplexity(recipe: str) -> None:
    assert report("training")[recipe]["val_perplexity"] == pytest.approx(7.3, abs=0.4)


def test_the_text_is_the_books() -> None:
    text = report("text")
    sizes = {name: (corpus["tokens"], corpus["vocab_size"]) for name, corpus in text["corpora"].items()}
    assert text["texts"]["timemachine"]["num_lines"] == 3221
    assert sizes == {"lines": (170_580, 28), "whole": (173_428, 28), "words": (32_775, 4580)}


def test_zipfs_exponent_falls_with_the_order() -> None:
    ngrams = report("ngrams")
    exponents = [ngrams[order]["zipf_exponent"] for order in ("unigram", "bigram", "trigram")]
    assert exponents == sorted(exponents, reverse=True)


@pytest.mark.parametrize(("order", "most"), [(5, 1.982), (6, 1.92), (7, 1.91), (8, 1.912)])
def test_counting_is_as_good_as_it_can_be(order: int, most: float) -> None:
    assert report("ngram_models")["whole"]["models"][f"kneser_ney_{order}"]["test"]["bits_per_character"] <= most


def test_the_lstm_beats_counting_and_both_together_beat_either() -> None:
    scores = report("language_models")["models"]
    test = {name: row["test"]["bits_per_character"] for name, row in scores.items()}
    assert test["lstm"] <= 1.89 < test["kneser_ney_7"] <= 1.91 < test["e2_scratch_windows"]
    assert test["all_adapting"] <= 1.76 < test["lstm_kneser_ney"] <= 1.81


def test_a_context_mixture_is_the_best_model_and_a_network_makes_it_better() -> None:
    language = report("language_models")
    test = {name: row["test"]["bits_per_character"] for name, row in language["models"].items()}
    assert test["context_mixing_lstm_dynamic"] <= 1.702 < test["context_mixing_lstm"] <= 1.708
    assert test["context_mixing_lstm"] < test["context_mixing"] <= 1.725 < test["all_adapting"]
    assert (language["best"], language["best_checkpoint"]) == ("context_mixing_lstm_dynamic", "lstm")


def test_weights_by_context_letters_and_state_maps_each_bring_more_than_a_hundredth_of_a_bit() -> None:
    left_out = report("context_mixing")["left_out"]
    assert left_out["nothing"]["bits_per_character"] <= 1.669
    assert min(left_out[part]["more"] for part in ("weights by context", "letters", "states")) > 0.01


def test_the_text_is_as_easy_backward_as_forward() -> None:
    for name in ("whole", "words"):
        for parts in report("ngram_models")[name]["arrow"].values():
            assert all(arrow["low"] <= 0 <= arrow["high"] for arrow in parts.values())


def test_what_maximum_likelihood_excludes_has_no_number() -> None:
    bigrams = report("ngram_models")["words"]["models"]["maximum_likelihood_2"]
    assert bigrams["test"]["nats"] is bigrams["test"]["perplexity"] is None


def test_one_step_is_near_the_noise_and_multistep_fails() -> None:
    for scores in report("forecast").values():
        assert 0.2 < scores["one_step_rmse"] == scores["k_step_rmse"]["1"] < 0.25
        assert scores["multistep_rmse"] > 0.5


def test_the_strategy_that_the_observed_part_prefers_forecasts_down_to_the_noise() -> None:
    backtest = report("backtest")
    assert backtest["num_series"] == 20
    assert backtest["chosen"]["multistep_rmse"] <= 0.22
    assert backtest["chosen"]["k_step_rmse"]["64"] <= 0.215
    for name in ("recursive_linear", "recursive_mlp", "recursive_rnn"):
        assert backtest["strategies"][name]["multistep_rmse"] > 0.5


def test_every_strategy_agrees_with_the_recursive_one_at_one_step() -> None:
    one_step = {name: row["k_step_rmse"]["1"] for name, row in report("backtest")["strategies"].items()}
    for name in ("linear", "mlp", "rnn", "ridge", "least_squares"):
        for strategy in ("direct", "direct_recursive"):
            found = one_step.get(f"{strategy}_{name}", one_step[f"recursive_{name}"])
            assert found == pytest.approx(one_step[f"recursive_{name}"], rel=1e-4)


def test_two_lags_suffice_without_noise_and_many_are_needed_with_it() -> None:
    tau = report("tau")
    assert tau["two_lags"]["found"] == pytest.approx(tau["two_lags"]["exact"], abs=1e-8)
    assert tau["without_noise"]["least_squares"]["rmse"]["2"] < 1e-6
    by_tau = tau["with_noise"]["ridge"]["rmse"]
    assert by_tau["2"] > 2 * by_tau["64"]
    assert min(map(int, tau["with_noise"]["ridge"]["chosen"])) >= 16


def test_intervals_cover_what_they_promise_at_every_horizon_where_errors_are_exchangeable() -> None:
    for name, by_level in report("intervals")["strategies"].items():
        for level, row in by_level.items():
            assert row["coverage"] == pytest.approx(float(level), abs=0.03)
            # The error of the last value depends on where in its period the sine is.
            assert name == "last_value" or row["largest_miss"] <= 0.03
        widths = [row["width"] for row in by_level.values()]
        assert widths == sorted(widths)


def test_gradients_fade_below_a_spectral_radius_of_one_and_grow_above() -> None:
    norms = report("bptt")["gradient_norm"]
    for radius in (0.9, 1.0, 1.1):
        assert norms[f"linear_{radius}"]["rate"] == pytest.approx(radius, rel=0.03)
    assert norms["linear_0.9"]["by_lag"]["64"] < 0.01 < 1 < norms["linear_1.1"]["by_lag"]["64"]
    assert norms["e1_scratch_sequential"]["by_lag"]["64"] < 0.1


def test_truncation_is_biased_and_randomised_truncation_is_not_but_varies_more() -> None:
    for by_weights in report("bptt")["estimates"].values():
        for by_strategy in by_weights.values():
            randomised, truncated = by_strategy["randomised"], by_strategy["truncated_anywhere"]
            low, high = randomised["projection_interval"]
            assert low < 1 < high
            assert randomised["bias"] < 2 * randomised["chance"]
            assert truncated["bias"] > 0.2
            assert truncated["projection"] < 0.9
            assert by_strategy["truncated"]["bias"] > 0.2
            assert truncated["variance"] < randomised["variance"]


def test_cutting_keeps_fewer_states_and_multiplies_less() -> None:
    cost = report("bptt")["cost"]
    kept, products = (
        [cost[name][key] for name in ("truncated", "randomised", "full")] for key in ("kept_bytes", "products")
    )
    assert kept == sorted(kept)
    assert max(products[:2]) < products[2]
