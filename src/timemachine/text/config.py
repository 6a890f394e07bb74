"""Configuration of the text: sources, cleaning and corpora."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from timemachine.base.config import Count, Distinct, Name, Natural, Positive, Section, Sha256, Text

Level = Literal["char", "word"]


class DownloadParams(Section):
    """Where the text comes from and which bytes it must have."""

    sources: list[Text] = Field(min_length=1)
    sha256: Sha256
    max_bytes: Count = 10_000_000
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2

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
    reserved_tokens: Annotated[list[Text], Distinct] = Field(default=[])

    @field_validator("reserved_tokens")
    @classmethod
    def _without_unk(cls, tokens: list[str]) -> list[str]:
        if "<unk>" in tokens:
            raise ValueError("leave out <unk>, which is always there")
        return tokens


class PreprocessParams(Section):
    """The corpora, by name, and how each is split."""

    split: Split
    corpora: dict[Name, CorpusRecipe] = Field(min_length=1)

    @field_validator("corpora")
    @classmethod
    def _free_names(cls, corpora: dict[str, CorpusRecipe]) -> dict[str, CorpusRecipe]:
        if taken := {"num_lines", "sha256", "added"} & set(corpora):
            raise ValueError(f"{min(taken)!r} is a key of data/reports/text.json; choose another name")
        return corpora
