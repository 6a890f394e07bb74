"""Configuration of autoregressive models: recipes, and `config.json` of a checkpoint."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from timemachine.base.config import (
    Count,
    Device,
    Name,
    Optimizer,
    Positive,
    Precision,
    Section,
    Seed,
    Sha256,
    Units,
)


class ArRecipe(Section):
    """An autoregressive model and how to train it."""

    model: Literal["linear", "mlp", "rnn"]
    tau: Annotated[int, Field(ge=1, le=100_000)] = 4
    num_hiddens: Units | None = None
    num_train: Count = 600
    batch_size: Count = 16
    num_epochs: Count = 5
    optimizer: Optimizer
    lr: Positive = 0.01
    loss: Literal["half_mean", "sum"]
    standardize: bool = False
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _hidden_layer(self) -> Self:
        if (self.model == "linear") != (self.num_hiddens is None):
            raise ValueError(
                f"num_hiddens must be {'null' if self.model == 'linear' else 'a number'} for {self.model}"
            )
        return self


class ArConfig(ArRecipe):
    """`config.json` of an autoregressive model: its recipe and the hash of its data.

    Attributes:
        data_sha256: SHA-256 of the series.
    """

    family: Literal["ar"]
    name: Name
    data_sha256: Sha256
