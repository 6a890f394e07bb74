"""Configuration of the text: sources, cleaning and corpora."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from timemachine.base.config import Count, Distinct, Name, Natural, Positive, Section, Sha256, Text

Level = Literal["char", "word"]
Sampling = Literal["sequential", "random", "windows"]


def least_tokens(sampling: Sampling, batch_size: int, num_steps: int, with_offset: bool = True) -> int:
    """Return the fewest tokens that give a minibatch, at the largest random offset if there is one."""
    if sampling == "windows":
        return num_steps + 1
    return (batch_size + with_offset) * num_steps + (sampling == "sequential")


class DownloadParams(Section):
    """The section `download`: sources of the text and its hash."""

    sources: list[Text] = Field(min_length=1)
    sha256: Sha256
    max_bytes: Count = 10_000_000
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2

    @field_validator("sources")
    @classmethod
    def _https_or_path(cls, sources: list[str]) -> list[str]:
        for source in sources:
            # Params are shown in MLflow, in errors and in git. A password may have a slash, so any @ is refused.
            if "://" in source and "@" in source:
                raise ValueError("a URL must not contain a user or a password; write %40 for another @")
            if "\0" in source or ("://" in source and not source.startswith("https://")):
                raise ValueError(f"{source!r} is neither an https URL nor a path")
        return sources


class Split(Section):
    """Fractions of the train, validation and test part, which are contiguous."""

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
    """How a corpus is made from the text."""

    cleaning: Literal["lines", "whole"]
    level: Level
    order: Literal["frequency", "sorted"] = "frequency"
    min_freq: Natural = 0
    reserved_tokens: Annotated[list[Text], Distinct] = Field(default=[])

    @field_validator("reserved_tokens")
    @classmethod
    def _without_unk(cls, tokens: list[str]) -> list[str]:
        if "<unk>" in tokens:
            raise ValueError("leave out <unk>, which every vocabulary has")
        return tokens


class PreprocessParams(Section):
    """The section `preprocess`: the corpora by name, and how they are split."""

    split: Split
    corpora: dict[Name, CorpusRecipe] = Field(min_length=1)

    @field_validator("corpora")
    @classmethod
    def _free_names(cls, corpora: dict[str, CorpusRecipe]) -> dict[str, CorpusRecipe]:
        if taken := {"num_lines", "sha256", "added"} & set(corpora):
            raise ValueError(f"{min(taken)!r} is a key of data/reports/text.json; choose another name")
        return corpora
