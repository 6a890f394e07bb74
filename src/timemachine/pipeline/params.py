"""`params.yaml` as a whole: all sections, and the rules between them.

Each room describes its own sections in its `config.py`. Here stand those of no room of a stage, `publish` and
`retraining`.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, StringConstraints, field_validator, model_validator

from timemachine.base.config import ComputeParams, Count, Name, NonNegative, Positive, Section, read_yaml, validate
from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.config import EvaluateForecastParams, IntervalsParams
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.series.config import SeriesParams
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.gradients.config import BpttParams
from timemachine.language.comparison.config import CompareModelsParams
from timemachine.language.models.config import RnnRecipe
from timemachine.language.ngrams.config import NgramModelsParams, NgramsParams
from timemachine.language.scoring.config import DynamicEvaluationParams, EvaluatePerplexityParams
from timemachine.text.config import DownloadParams, PreprocessParams

# Names of models that no recipe trains.
_TAKEN_NAMES = re.compile(r"^uniform|^maximum_likelihood_|^additive_|^kneser_ney_|_dynamic$|_adaptive$")
_KNESER_NEY_NAME = re.compile(r"^kneser_ney_[1-9][0-9]?(_adaptive)?$")


class PublishParams(Section):
    """Where MLflow files the runs."""

    experiment: Annotated[str, StringConstraints(max_length=500)]  # MLflow takes no longer name

    @field_validator("experiment")
    @classmethod
    def _printable(cls, experiment: str) -> str:
        if not experiment.strip() or not experiment.isprintable():
            raise ValueError(f"{experiment!r} is no name that can be printed and seen")
        return experiment


class RetrainingParams(Section):
    """Which texts extend the training part, and what a challenger needs to become champion.

    `max_hours` is the longest time in hours for a DVC command of a round, which can wait for ever on a full disk.
    """

    min_characters: Count
    min_letter_share: Annotated[float, Field(ge=0, le=1)]
    max_overlap: Annotated[float, Field(ge=0, le=1)]
    margin: NonNegative
    max_bytes: Count
    min_characters_per_s: NonNegative
    max_hours: Positive = 24.0


class Params(Section):
    """All of `params.yaml`, checked as a whole."""

    compute: ComputeParams
    download: DownloadParams
    preprocess: PreprocessParams
    ngrams: NgramsParams
    ngram_models: NgramModelsParams
    series: SeriesParams
    train_ar: dict[Name, ArRecipe] = Field(min_length=1)
    evaluate_forecast: EvaluateForecastParams
    choose_tau: ChooseTauParams
    backtest: BacktestParams
    intervals: IntervalsParams
    train_rnn: dict[Name, RnnRecipe] = Field(min_length=1)
    evaluate_perplexity: EvaluatePerplexityParams
    bptt: BpttParams
    dynamic_evaluation: DynamicEvaluationParams
    compare_models: CompareModelsParams
    publish: PublishParams
    retraining: RetrainingParams

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wanted = [
            ("ngrams.corpus", self.ngrams.corpus, {"word"}),
            ("ngrams.markov_corpus", self.ngrams.markov_corpus, {"char"}),
            ("compare_models.corpus", self.compare_models.corpus, {"char"}),
            *((f"ngram_models.corpora.{name}", name, {"char", "word"}) for name in self.ngram_models.corpora),
            *(
                (f"train_rnn.{name}.corpus", recipe.corpus, {"char", "word"})
                for name, recipe in self.train_rnn.items()
            ),
            ("bptt.corpus", self.bptt.corpus, {"char"}),
        ]
        corpora = self.preprocess.corpora
        for key, corpus, levels in wanted:
            if corpus not in corpora:
                raise ValueError(f"{key}: unknown corpus {corpus!r}; preprocess.corpora has {', '.join(corpora)}")
            if corpora[corpus].level not in levels:
                raise ValueError(f"{key}: {corpus!r} has level {corpora[corpus].level}; allowed: {min(levels)}")
        studied = self.train_rnn.get(self.bptt.model)
        if studied is None or (studied.implementation, studied.corpus) != ("scratch", self.bptt.corpus):
            fit = (
                n
                for n, r in self.train_rnn.items()
                if (r.implementation, r.corpus) == ("scratch", self.bptt.corpus)
            )
            raise ValueError(
                f"bptt.model: {self.bptt.model!r} is no entry of train_rnn with implementation: scratch and "
                f"corpus: {self.bptt.corpus}; allowed: {', '.join(fit) or 'none'}"
            )
        return self

    def check_length(self, num_points: int) -> None:
        """Check that a series is long enough for every forecast.

        Raises:
            ValueError: it is not; the message says for which.
        """
        k = max(self.evaluate_forecast.k_steps)
        needs = [
            (
                f"train_ar.{name}",
                "num_train + tau + the longest of evaluate_forecast.k_steps",
                r.num_train + r.tau + k,
            )
            for name, r in self.train_ar.items()
        ]
        needs.append(("backtest", "num_observed + horizon", self.backtest.num_observed + self.backtest.horizon))
        for section, what, needed in needs:
            if num_points < needed:
                raise UserError(f"{num_points} points are too few: {section} needs {what} = {needed}")

    @model_validator(mode="after")
    def _possible_forecasts(self) -> Self:
        if self.series.csv is None:
            try:
                self.check_length(self.series.num_points)
            except ValueError as error:
                raise ValueError(f"series.num_points: {error}") from None
        b, i = self.backtest, self.intervals
        if 2 * min(self.choose_tau.taus) > b.first_validation:
            raise ValueError(
                f"choose_tau.taus: none is at most half of backtest.num_observed − num_validation, "
                f"{b.first_validation}"
            )
        for name in b.trained:
            if name not in self.train_ar:
                raise ValueError(f"backtest.trained: no entry {name!r}; train_ar has {', '.join(self.train_ar)}")
            if name in ("least_squares", "ridge"):
                raise ValueError(f"backtest.trained.{name}: regression in closed form has this name")
            if self.train_ar[name].tau + b.horizon > b.first_validation:
                raise ValueError(
                    f"backtest.trained.{name}: tau + horizon = {self.train_ar[name].tau + b.horizon} exceed "
                    f"what is known at the first validation origin, num_observed − num_validation = "
                    f"{b.first_validation}"
                )
        highest = max(i.levels)
        needed = math.ceil(highest / (1 - highest) - 1e-9)
        known = min(i.num_calibration, b.num_validation - b.horizon + 1)
        if known < needed:
            raise ValueError(
                f"intervals.levels: {highest} needs {needed} past errors of every horizon, and there are {known}; "
                "raise num_calibration or backtest.num_validation, or lower backtest.horizon"
            )
        return self

    @model_validator(mode="after")
    def _known_models(self) -> Self:
        for section, names in (
            ("train_rnn", self.train_rnn),
            ("compare_models.mixtures", self.compare_models.mixtures),
        ):
            for name in names:
                if taken := _TAKEN_NAMES.search(name):
                    raise ValueError(f"{section}.{name}: names with {taken[0]!r} belong to other models")
        if both := set(self.train_rnn) & set(self.compare_models.mixtures):
            raise ValueError(f"compare_models.mixtures.{min(both)}: a recipe in train_rnn has this name")
        if self.compare_models.corpus not in self.ngram_models.corpora:
            has = ", ".join(self.ngram_models.corpora)
            raise ValueError(
                f"compare_models.corpus: {self.compare_models.corpus!r} has no n-gram models; "
                f"ngram_models.corpora has {has}"
            )
        recurrent = {n for n, recipe in self.train_rnn.items() if recipe.corpus == self.compare_models.corpus}
        of_corpus = f"of the corpus {self.compare_models.corpus!r}"
        for name in self.dynamic_evaluation.models:
            if name not in recurrent:
                has = ", ".join(sorted(recurrent)) or "none"
                raise ValueError(f"dynamic_evaluation.models: no recipe {name!r} {of_corpus}; train_rnn has {has}")
        allowed = recurrent | {f"{name}_dynamic" for name in self.dynamic_evaluation.models}
        for mixture, recipe in self.compare_models.mixtures.items():
            for name in recipe.models:
                if name not in allowed and not _KNESER_NEY_NAME.fullmatch(name):
                    raise ValueError(
                        f"compare_models.mixtures.{mixture}: no model {name!r} {of_corpus}; it has "
                        f"{', '.join(sorted(allowed))}, kneser_ney_<order> and kneser_ney_<order>_adaptive"
                    )
        return self


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        UserError: one line that names the file, the key, what was found and what is allowed.
    """
    return validate(Params, read_yaml(path), path)


def in_full(params: Params, name: str) -> str:
    """Return a section, or an entry of one, as YAML with all its knobs, those that params.yaml leaves out too.

    Args:
        params: all parameters.
        name: of a section, `backtest`; of an entry, `train_rnn.lstm`; or of a recipe, `lstm`.

    Raises:
        UserError: there is none of this name, or several.
    """
    content = params.model_dump()
    found = {key: value for key, value in _named(content) if name in (key, key.partition(".")[2])}
    if len(found) != 1:
        problem = f"several entries, {', '.join(found)}" if found else "no section or entry of params.yaml"
        raise UserError(f"{name!r}: {problem}; sections: {', '.join(content)}")
    ((key, value),) = found.items()
    for part in reversed(key.split(".")):
        value = {part: value}
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _named(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield sections, and the entries of those that consist of entries, under their dotted keys."""
    for section, value in content.items():
        yield section, value
        for entry, inner in value.items():
            if isinstance(inner, dict):
                yield f"{section}.{entry}", inner
