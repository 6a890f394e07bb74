"""`params.yaml` as a whole: all sections, and the rules between them.

Each package describes its own sections in its `config.py`. The sections `publish` and `retraining`, which belong
to no package of a stage, are described here.
"""

import math
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, StringConstraints, field_validator, model_validator

from timemachine.base.config import ComputeParams, Count, Name, NonNegative, Positive, Section, read_yaml, validate
from timemachine.base.errors import UserError, about
from timemachine.forecasting.evaluation.config import EvaluateForecastParams, IntervalsParams
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.series.config import SeriesParams
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.gradients.config import BpttParams
from timemachine.language.comparison.config import CompareModelsParams
from timemachine.language.models.config import RnnRecipe
from timemachine.language.ngrams.config import ContextMixingParams, Networks, NgramModelsParams, NgramsParams
from timemachine.language.scoring.config import DynamicEvaluationParams, EvaluatePerplexityParams
from timemachine.text.preparation.config import DownloadParams, PreprocessParams, TextEntry

# Names of models that no recipe trains.
_TAKEN_NAMES = re.compile(
    r"^uniform|^maximum_likelihood_|^additive_|^kneser_ney_|^context_mixing|_dynamic$|_adaptive$"
)
_KNESER_NEY_NAME = re.compile(r"^kneser_ney_([1-9][0-9]?|[1-9]_adaptive)$")


class PublishParams(Section):
    """The MLflow experiment of the runs."""

    experiment: Annotated[str, StringConstraints(max_length=500)]  # the limit of MLflow

    @field_validator("experiment")
    @classmethod
    def _printable(cls, experiment: str) -> str:
        if not experiment.strip() or not experiment.isprintable():
            raise ValueError(f"{experiment!r} must not be blank and must have printable characters only")
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
    download: DownloadParams = DownloadParams()
    texts: dict[Name, TextEntry] = Field(min_length=1)
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
    context_mixing: ContextMixingParams = ContextMixingParams()
    context_mixing_networks: Networks = Field(default={})
    compare_models: CompareModelsParams
    publish: PublishParams
    retraining: RetrainingParams

    @property
    def dynamic_names(self) -> list[str]:
        """Names of the recurrent models that dynamic evaluation scores."""
        return [f"{name}_dynamic" for name in self.dynamic_evaluation.models]

    def check_length(self, num_points: int) -> None:
        """Check that a series is long enough for every forecast.

        Raises:
            UserError: it is not; the message says for which.
        """
        k, b = max(self.evaluate_forecast.k_steps), self.backtest
        what = "num_train + tau + the longest of evaluate_forecast.k_steps ="
        needs = {f"train_ar.{name} needs {what}": r.num_train + r.tau + k for name, r in self.train_ar.items()}
        needs["backtest needs num_observed + horizon ="] = b.num_observed + b.horizon
        for what, needed in needs.items():
            if num_points < needed:
                raise UserError(f"{num_points} points are too few: {what} {needed}")

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        """Check that a section names only entries of other sections that exist and fit."""
        corpora, recipes, b = self.preprocess.corpora, self.train_rnn, self.bptt
        compared, mixtures = self.compare_models.corpus, self.compare_models.mixtures
        words, characters = ([n for n, c in corpora.items() if c.level == level] for level in ("word", "char"))
        for name, corpus in corpora.items():
            _require(f"preprocess.corpora.{name}.texts", corpus.texts, self.texts, "entry of texts")
        entry = "entry of preprocess.corpora"
        _require("ngrams.corpus", [self.ngrams.corpus], words, f"{entry} with level: word")
        _require("ngrams.markov_corpus", [self.ngrams.markov_corpus], characters, f"{entry} with level: char")
        _require("ngram_models.corpora", self.ngram_models.corpora, corpora, entry)
        _require("compare_models.corpus", [compared], characters, f"{entry} with level: char")
        _require("compare_models.corpus", [compared], self.ngram_models.corpora, "entry of ngram_models.corpora")
        for name, recipe in recipes.items():
            _require(f"train_rnn.{name}.corpus", [recipe.corpus], corpora, entry)
        _require("bptt.corpus", [b.corpus], characters, f"{entry} with level: char")
        fit = [n for n, r in recipes.items() if (r.implementation, r.corpus) == ("scratch", b.corpus)]
        _require("bptt.model", [b.model], fit, f"recipe with implementation: scratch, corpus: {b.corpus}")
        _require("backtest.trained", self.backtest.trained, self.train_ar, "entry of train_ar")
        for section, names in (("train_rnn", recipes), ("compare_models.mixtures", mixtures)):
            for name in names:
                if taken := _TAKEN_NAMES.search(name):
                    raise ValueError(f"{section}.{name}: names with {taken[0]!r} are reserved for other models")
        if both := set(recipes) & set(mixtures):
            raise ValueError(f"compare_models.mixtures.{min(both)}: a recipe in train_rnn has this name")
        known, adapted = (
            sorted(n for n, r in recipes.items() if r.corpus == compared),
            self.dynamic_evaluation.models,
        )
        _require("dynamic_evaluation.models", adapted, known, f"recipe of the corpus {compared!r}")
        known = sorted([*known, *self.dynamic_names])
        for name, networks in self.context_mixing_networks.items():
            if not name.startswith("context_mixing_"):
                raise ValueError(f"context_mixing_networks.{name}: a name must begin with 'context_mixing_'")
            _require(f"context_mixing_networks.{name}", networks, known, f"model of the corpus {compared!r}")
        known += ["kneser_ney_<order>", "kneser_ney_<order up to 9>_adaptive"]
        for name, mixture in mixtures.items():
            trained = [model for model in mixture.models if not _KNESER_NEY_NAME.fullmatch(model)]
            _require(f"compare_models.mixtures.{name}", trained, known, f"model of the corpus {compared!r}")
        return self

    @model_validator(mode="after")
    def _possible_forecasts(self) -> Self:
        if self.series.csv is None:
            with about("series.num_points"):
                self.check_length(self.series.num_points)
        b, i = self.backtest, self.intervals
        known = f"num_observed − num_validation = {b.first_validation}"
        if 2 * min(self.choose_tau.taus) > b.first_validation:
            raise ValueError(f"choose_tau.taus: the smallest must be at most half of {known}")
        for name in b.trained:
            if name in ("least_squares", "ridge"):
                raise ValueError(f"backtest.trained.{name}: this name is reserved for regression in closed form")
            if (needed := self.train_ar[name].tau + b.horizon) > b.first_validation:
                raise ValueError(
                    f"backtest.trained.{name}: tau + horizon = {needed} exceed what is known at the first "
                    f"validation origin, {known}"
                )
        highest = max(i.levels)
        needed = math.ceil(highest / (1 - highest) - 1e-9)
        num_errors = min(i.num_calibration, b.num_validation - b.horizon + 1)
        if num_errors < needed:
            raise ValueError(
                f"intervals.levels: {highest} needs {needed} past errors of every horizon, and there are "
                f"{num_errors}; raise num_calibration or backtest.num_validation, or lower backtest.horizon"
            )
        return self


def _require(key: str, names: Iterable[str], known: Collection[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: unknown {what} {name!r}; allowed: {', '.join(known) or 'none'}")


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
    entries = {
        f"{section}.{entry}": inner
        for section, value in content.items()
        for entry, inner in value.items()
        if isinstance(inner, dict)
    }
    found = {key: value for key, value in (content | entries).items() if name in (key, *key.split(".")[1:])}
    if len(found) != 1:
        problem = f"several entries, {', '.join(found)}" if found else "no section or entry of params.yaml"
        raise UserError(f"{name!r}: {problem}; sections: {', '.join(content)}")
    ((key, value),) = found.items()
    for part in reversed(key.split(".")):
        value = {part: value}
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
