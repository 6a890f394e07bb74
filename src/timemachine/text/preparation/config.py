"""Configuration of texts and corpora: sources, cleaning and parts."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from timemachine.base.config import Count, Distinct, Name, Natural, Positive, Section, Sha256, Text
from timemachine.text.tokens.config import Level

Licence = Literal["none", "gutenberg"]


class DownloadParams(Section):
    """The section `download`: limits of a download. They change no byte of a text."""

    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    max_bytes: Annotated[int, Field(ge=1, le=10**15)] = 10_000_000_000

    @model_validator(mode="before")
    @classmethod
    def _without_sources(cls, content: Any) -> Any:
        if isinstance(content, dict) and {"sources", "sha256"} & set(content):
            raise ValueError(
                "sources and sha256 belong to an entry of texts, as in `texts: {timemachine: {sources: […], "
                "sha256: …}}`, and each corpus names its texts, as in `lines: {texts: [timemachine], …}`"
            )
        return content


class TextEntry(Section):
    """An entry of the section `texts`.

    Attributes:
        sources: tried in order: https URLs, or paths relative to the repository. A path may be a file, a folder
            (its *.txt files) or a glob; several files are the shards of one text.
        sha256: the hash of the file, or of its shards, see `timemachine.text.preparation.sources.sha256_of_text`.
        licence: what is cut when the text is read: `gutenberg` is the header and footer of Project Gutenberg.
        encoding: name of a codec of Python.
    """

    sources: list[Text] = Field(min_length=1)
    sha256: Sha256
    licence: Licence = "none"
    encoding: Annotated[str, Field(max_length=64)] = "utf-8"

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

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "a".encode(encoding)
        except (LookupError, ValueError):  # ValueError: a null character, or a codec that refuses all text
            raise ValueError(f"{encoding!r} is no encoding of text; write utf-8, windows-1252 or utf-16") from None
        return encoding


class Split(Section):
    """Fractions of the train, validation and test part, which are contiguous.

    `max_held_out` is the largest number of tokens of the validation part, and of the test part; the train part has
    the rest.
    """

    train: Positive
    val: Positive
    test: Positive
    max_held_out: Count = 1_000_000

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"train + val + test must be 1, not {total:g}")
        return self


class CorpusRecipe(Section):
    """How a corpus is made from one text or several."""

    texts: Annotated[list[Name], Distinct] = Field(min_length=1)
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
