"""The typed sections of `params.yaml`.

Every section is frozen and strict: an unknown key, a wrong type or a value out of range is a `ValueError` of
one line that names the key, what was found and what is allowed, before any work starts.
"""

import difflib
import math
import re
import reprlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Natural = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Units = Annotated[int, Field(ge=1, le=20_000)]
Positive = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda|cuda:[0-9]{1,3})$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Level = Literal["char", "word"]
Strategy = Literal["recursive", "direct", "multi_output", "direct_recursive"]
Optimizer = Literal["sgd", "adam", "adamw"]
# What the stages call the models that no recipe trains.
_TAKEN_NAMES = re.compile(r"^uniform|^maximum_likelihood_|^additive_|^kneser_ney_|_dynamic$|_adaptive$")
_KNESER_NEY_NAME = re.compile(r"^kneser_ney_[1-9][0-9]?(_adaptive)?$")


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"{next(v for v in values if values.count(v) > 1)!r} stands there twice")
    return values


Distinct = AfterValidator(_distinct)

_UNTRAINED = (
    r"^(last_value|mean|seasonal_naive|harmonic|"
    r"(recursive|direct|multi_output|direct_recursive)_(least_squares|ridge))$"
)

# What a pattern means, for people.
_PATTERNS = {
    r"^[a-z0-9][a-z0-9_]{0,63}$": "a name of up to 64 lower-case letters, digits and underscores",
    r"^(auto|cpu|cuda|cuda:[0-9]{1,3})$": "auto, cpu, cuda or cuda:N",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
    _UNTRAINED: "last_value, mean, seasonal_naive, harmonic, or recursive_, direct_, multi_output_ or "
    "direct_recursive_ with least_squares or ridge",
}


class Section(BaseModel):
    """A part of `params.yaml`: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Compute(Section):
    """How every stage computes: the last bits of its results depend on it."""

    num_threads: Annotated[int, Field(ge=1, le=1024)]
    deterministic: bool


class Download(Section):
    """Where the text comes from and which bytes it must have."""

    sources: list[Text] = Field(min_length=1)
    sha256: Sha256
    max_bytes: Count
    timeout_s: Annotated[float, Field(gt=0, le=3600)]
    retries: Annotated[int, Field(ge=0, le=10)]

    @field_validator("sources")
    @classmethod
    def _https_or_path(cls, sources: list[str]) -> list[str]:
        for source in sources:
            # Params are shown in MLflow, in errors and in git. A password may hold a slash: any @ is too many.
            if "://" in source and "@" in source:
                raise ValueError("a URL must hold no user and no password; write %40 for an @ that means neither")
            if "\0" in source or ("://" in source and not source.startswith("https://")):
                raise ValueError(f"{source!r} is neither an https URL nor a path")
        return sources


class Split(Section):
    """Fractions of the contiguous train, validation and test part."""

    train: Positive
    val: Positive
    test: Positive

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"train + val + test must be 1, not {total:g}")
        return self


class CorpusRecipe(Section):
    """How one corpus is made from the text."""

    cleaning: Literal["lines", "whole"]
    level: Level
    order: Literal["frequency", "sorted"] = "frequency"
    min_freq: Natural = 0
    reserved_tokens: Annotated[list[Text], Distinct] = []

    @field_validator("reserved_tokens")
    @classmethod
    def _without_unk(cls, tokens: list[str]) -> list[str]:
        if "<unk>" in tokens:
            raise ValueError("leave out <unk>, which is always there")
        return tokens


class Preprocess(Section):
    """The corpora, by name, and how each is split."""

    split: Split
    corpora: dict[Name, CorpusRecipe] = Field(min_length=1)

    @field_validator("corpora")
    @classmethod
    def _free_names(cls, corpora: dict[str, CorpusRecipe]) -> dict[str, CorpusRecipe]:
        if taken := {"num_lines", "sha256", "added"} & set(corpora):
            raise ValueError(f"{min(taken)!r} is a key of data/reports/text.json; choose another name")
        return corpora


class Ngrams(Section):
    """n-gram statistics of a word corpus and a Markov chain over a character corpus."""

    corpus: Name
    num_top: Count
    zipf_ranks: list[Count] = Field(min_length=2, max_length=2)
    epsilon: list[NonNegative] = Field(min_length=3, max_length=3)
    sequences: list[Text]
    markov_corpus: Name
    markov_steps: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(min_length=1, max_length=8)

    @field_validator("zipf_ranks")
    @classmethod
    def _rising(cls, ranks: list[int]) -> list[int]:
        if ranks[0] >= ranks[1]:
            raise ValueError(f"the first rank must be below the last, not {ranks}")
        return ranks


class NgramModels(Section):
    """n-gram language models, the corpora by highest order, and how sure one may be of time's arrow."""

    corpora: dict[Name, Annotated[int, Field(ge=1, le=100)]] = Field(min_length=1)
    block_length: Count
    num_samples: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Seed


class Series(Section):
    """The noisy sine, or a series of the user's own."""

    csv: Text | None
    time_column: Text
    value_column: Text
    num_points: Annotated[int, Field(ge=2, le=10_000_000)]
    frequency: Positive
    noise_std: NonNegative
    seed: Seed

    @field_validator("csv")
    @classmethod
    def _below_own(cls, path: str | None) -> str | None:
        if path is not None:
            parts = PurePosixPath(path).parts
            if parts[:2] != ("data", "own") or len(parts) < 3 or ".." in parts or "\0" in path:
                raise ValueError(f"{path!r} must lie below data/own/, which the stage watches for changes")
        return path


class ArRecipe(Section):
    """One autoregressive model and how it is trained."""

    model: Literal["linear", "mlp", "rnn"]
    tau: Annotated[int, Field(ge=1, le=100_000)]
    num_hiddens: Units | None = None
    num_train: Count
    batch_size: Count
    num_epochs: Count
    optimizer: Optimizer
    lr: Positive
    loss: Literal["half_mean", "sum"]
    standardize: bool = False
    seed: Seed = 0
    device: Device = "auto"

    @model_validator(mode="after")
    def _hidden_layer(self) -> Self:
        if (self.model == "linear") != (self.num_hiddens is None):
            raise ValueError(
                f"num_hiddens must be {'null' if self.model == 'linear' else 'a number'} for {self.model}"
            )
        return self


class ArConfig(ArRecipe):
    """`config.json` of an autoregressive model: its recipe and what it was trained on.

    Attributes:
        data_sha256: hash of the series.
    """

    family: Literal["ar"]
    name: Name
    data_sha256: Sha256


class EvaluateForecast(Section):
    """Which horizons are reported."""

    k_steps: list[Annotated[int, Field(ge=1, le=100_000)]] = Field(min_length=1, max_length=8)


class Backtest(Section):
    """How forecasting strategies are compared from rolling origins."""

    num_observed: Count
    num_validation: Count
    horizon: Annotated[int, Field(ge=3, le=10_000)]
    num_folds: Annotated[int, Field(ge=1, le=10_000)]
    num_seeds: Annotated[int, Field(ge=1, le=10_000)]
    max_harmonics: Annotated[int, Field(ge=1, le=20)]
    trained: dict[Name, Annotated[list[Strategy], Distinct]]

    @model_validator(mode="after")
    def _room_for_origins(self) -> Self:
        if not self.horizon <= self.num_validation < self.num_observed:
            raise ValueError(
                f"num_validation: {self.num_validation} is not from horizon, {self.horizon}, to below "
                f"num_observed, {self.num_observed}"
            )
        return self

    @model_validator(mode="after")
    def _room_for_direct_strategies(self) -> Self:
        if 2 * self.horizon > self.first_validation:
            raise ValueError(
                f"horizon: {self.horizon} is above half of what is known at the first validation origin, "
                f"num_observed − num_validation = {self.first_validation}"
            )
        return self

    @property
    def first_validation(self) -> int:
        """The first origin by which choices are made."""
        return self.num_observed - self.num_validation


class ChooseTau(Section):
    """Which embedding dimensions and penalties are tried."""

    taus: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Distinct] = Field(min_length=1)
    penalties: Annotated[list[Positive], Distinct] = Field(min_length=1)


class Intervals(Section):
    """Prediction intervals and how often they hold."""

    strategies: Annotated[list[Annotated[str, StringConstraints(pattern=_UNTRAINED)]], Distinct] = Field(
        min_length=1
    )
    levels: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Distinct] = Field(min_length=1, max_length=8)
    num_calibration: Annotated[int, Field(ge=1, le=100_000)]
    num_seeds: Annotated[int, Field(ge=1, le=10_000)]


class RnnRecipe(Section):
    """One recurrent language model and how it is trained."""

    corpus: Name
    sampling: Literal["sequential", "random", "windows"]
    num_train: Count | None = None
    num_val: Natural | None = 0
    batch_size: Count
    num_steps: Count
    implementation: Literal["scratch", "concise"]
    cell: Literal["rnn", "gru", "lstm"] = "rnn"
    activation: Literal["tanh", "relu"] = "tanh"
    embedding_dim: Units | None = None
    num_hiddens: Units
    num_layers: Annotated[int, Field(ge=1, le=100)] = 1
    embedding_dropout: Fraction = 0.0
    weight_dropout: Fraction = 0.0
    dropout: Fraction = 0.0
    num_epochs: Count
    patience: Count | None = None
    optimizer: Optimizer = "sgd"
    lr: Positive
    warmup: Annotated[float, Field(gt=0, lt=1)] | None = None
    weight_decay: NonNegative = 0.01
    clip_norm: Positive | None = None
    detach: bool = True
    seed: Seed = 0
    device: Device = "auto"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.implementation == "scratch" and (self.cell, self.num_layers) != ("rnn", 1):
            raise ValueError("implementation: scratch has cell: rnn and num_layers: 1; use concise for others")
        if self.cell != "rnn" and self.activation != "tanh":
            raise ValueError(f"activation: {self.activation} belongs to cell: rnn; {self.cell} allows tanh")
        if self.implementation == "scratch" and (self.embedding_dropout or self.dropout):
            raise ValueError("implementation: scratch has no dropout; use concise")
        if self.cell == "rnn" and self.weight_dropout:
            raise ValueError("weight_dropout: belongs to cell: gru and lstm")
        if self.patience is not None and self.num_val == 0:
            raise ValueError("patience: needs a validation part; num_val is 0")
        if not self.detach and self.sampling != "sequential":
            raise ValueError(f"detach: false needs sampling: sequential, not {self.sampling}")
        return self


class RnnConfig(RnnRecipe):
    """`config.json` of a language model: its recipe, what it was trained on, and its vocabulary.

    Attributes:
        epoch: number of the epoch whose weights were kept.
        train_range: first index, and one past the last, of the tokens it was trained on.
        data_sha256: hash of the corpus.
        level: of the corpus, and so of the tokens it reads and writes.
        vocab_size: number of tokens.
        vocabulary_sha256: hash of the vocabulary.
    """

    family: Literal["rnn"]
    name: Name
    epoch: Count
    train_range: list[Natural] = Field(min_length=2, max_length=2)
    data_sha256: Sha256
    level: Level
    vocab_size: Count
    vocabulary_sha256: Sha256


class Prefix(Section):
    """A beginning to be continued: greedily, or with an α by draws from P^α, made narrower if wanted."""

    prefix: Text
    num_preds: Annotated[int, Field(ge=1, le=100_000)]
    alpha: Positive | None = None
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed = 0


class EvaluatePerplexity(Section):
    """How the language models are scored and what they continue."""

    num_warmup: Annotated[int, Field(ge=1, le=10_000_000)]
    num_streams: Annotated[int, Field(ge=1, le=10_000)]
    prefixes: list[Prefix]


class DynamicEvaluation(Section):
    """Which recurrent models are also scored while they go on learning, and how they learn."""

    models: Annotated[list[Name], Distinct]
    num_steps: Count
    num_rms: Count
    lr: Positive


class MixtureRecipe(Section):
    """A mixture of language models."""

    mean: Literal["arithmetic", "geometric"]
    models: Annotated[list[Text], Distinct] = Field(min_length=1)


class CompareModels(Section):
    """Which language models are mixed, and how sure one may be of their order."""

    corpus: Name
    adapt_every: Count
    mixtures: dict[Name, MixtureRecipe]
    block_length: Count
    num_samples: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Seed


class BpttTraining(Section):
    """The small network that learns by each way of cutting gradients."""

    num_train: Count
    batch_size: Count
    num_hiddens: Units
    num_epochs: Count
    lr: Positive
    clip_norm: Positive | None
    seeds: Annotated[list[Seed], Distinct] = Field(min_length=1)


class Bptt(Section):
    """The study of gradients through time."""

    model: Name
    corpus: Name
    num_steps: Annotated[int, Field(ge=2, le=10_000)]
    tau: Annotated[int, Field(ge=2, le=10_000)]
    batch_size: Units
    num_warmup: Count
    num_lags: Annotated[int, Field(ge=4, le=10_000)]
    num_draws: Annotated[int, Field(ge=2, le=1_000_000)]
    radii: Annotated[list[Positive], Distinct] = Field(min_length=1, max_length=8)
    num_hiddens: Units
    seed: Seed
    training: BpttTraining

    @model_validator(mode="after")
    def _segments_within_the_window(self) -> Self:
        if self.tau > self.num_steps:
            raise ValueError(f"tau: {self.tau} must not exceed num_steps, {self.num_steps}")
        return self


class Publish(Section):
    """Where MLflow files the runs."""

    experiment: Annotated[str, StringConstraints(max_length=500)]  # MLflow takes no longer name

    @field_validator("experiment")
    @classmethod
    def _printable(cls, experiment: str) -> str:
        if not experiment.strip() or not experiment.isprintable():
            raise ValueError(f"{experiment!r} is no name that can be printed and seen")
        return experiment


class Retraining(Section):
    """Which texts extend the training part, and what a challenger needs to become champion."""

    min_characters: Count
    min_letter_share: Annotated[float, Field(ge=0, le=1)]
    max_overlap: Annotated[float, Field(ge=0, le=1)]
    margin: NonNegative
    max_bytes: Count
    min_characters_per_s: NonNegative


class Params(Section):
    """All of `params.yaml`, checked as a whole."""

    compute: Compute
    download: Download
    preprocess: Preprocess
    ngrams: Ngrams
    ngram_models: NgramModels
    series: Series
    train_ar: dict[Name, ArRecipe] = Field(min_length=1)
    evaluate_forecast: EvaluateForecast
    choose_tau: ChooseTau
    backtest: Backtest
    intervals: Intervals
    train_rnn: dict[Name, RnnRecipe] = Field(min_length=1)
    evaluate_perplexity: EvaluatePerplexity
    bptt: Bptt
    dynamic_evaluation: DynamicEvaluation
    compare_models: CompareModels
    publish: Publish
    retraining: Retraining

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
                raise ValueError(f"{num_points} points are too few: {section} needs {what} = {needed}")

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
        ValueError: one line that names the file, the key, what was found and what is allowed.
    """
    try:
        content = yaml.safe_load(Path(path).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run this in the repository root") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        # Besides its own errors PyYAML lets through those of the types it makes.
        raise ValueError(f"{path}: not YAML: {_without_user(' '.join(str(error).split()))}") from None
    return validate(Params, content, path)


S = TypeVar("S", bound=Section)


def validate(section: type[S], content: Any, path: str | Path) -> S:
    """Check the content of a file.

    Raises:
        ValueError: one line that names the file, the key, what was found and what is allowed.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no keys; wanted: {', '.join(section.model_fields)}")
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: " + "; ".join(_sentence(section, dict(e)) for e in error.errors())) from None


def _sentence(section: type[Section], error: dict[str, Any]) -> str:
    """Say in a few words which key is wrong, what was found and what is allowed."""
    location, found, context = error["loc"], error["input"], error.get("ctx", {})
    key = ".".join(_readable(part) for part in location if part != "[key]")
    kind = error["type"]
    if kind == "value_error":
        message = str(context["error"])
        return f"{key}: {message}" if key else message
    if kind == "extra_forbidden":
        allowed = _fields_at(section, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{key}: unknown key; {hint}allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "string_pattern_mismatch":
        return f"{key}: {_short(found)} is not {_PATTERNS[context['pattern']]}"
    message = error["msg"].removeprefix("Input ").replace("valid ", "")
    if kind.startswith("float") and isinstance(found, str):
        message += " (write 0.001, not 1e-3)"
    return f"{key}: {_short(found)} {message}" if key else f"{_short(found)} {message}"


class _Repr(reprlib.Repr):
    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(_without_user(x), level)


# YAML's aliases make of nine short lines a list that it takes days to write out.
_REPR = _Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 60


def _short(value: Any) -> str:
    """Return what was found, in one line and not much more than 60 characters."""
    try:
        text = _REPR.repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _without_user(text: str) -> str:
    """Return a text whose URLs show neither user nor password, wherever somebody put them."""
    return re.sub(r"""://[^'"]*@""", "://", text)


def _readable(part: Any) -> str:
    """Return a part of a key, quoted where it is not printable, or too long."""
    plain = isinstance(part, str) and part.isprintable() and 0 < len(part) <= 64
    return _without_user(part) if plain else _short(part)


def _fields_at(section: Any, location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the part of a schema at `location` allows."""
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        else:
            section = section.__args__[-1]
    return list(section.model_fields)
