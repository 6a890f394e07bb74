"""Configuration of recurrent language models: recipes, and the config of a checkpoint."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from timemachine.base.config import (
    Count,
    Device,
    Fraction,
    Name,
    Natural,
    NonNegative,
    Optimizer,
    Positive,
    Precision,
    Section,
    Seed,
    Sha256,
    Units,
)
from timemachine.base.errors import UserError
from timemachine.text.tokens.config import Level, Sampling, least_tokens


def check_shared(batch_size: int, num_processes: int) -> None:
    """Check that processes can share the rows of a minibatch equally.

    Raises:
        UserError: the batch size is not divisible by their number.
    """
    if batch_size % num_processes:
        possible = [str(n) for n in range(1, batch_size + 1) if batch_size % n == 0][:12]
        choice = " or ".join(filter(None, [", ".join(possible[:-1]), possible[-1]]))
        raise UserError(
            f"num_processes: {num_processes} processes cannot share the {batch_size} rows of batch_size equally; "
            f"choose {choice}"
        )


class RnnRecipe(Section):
    """A recurrent language model, and how it is trained."""

    corpus: Name
    sampling: Sampling = "sequential"
    num_train: Count | None = None
    num_val: Natural | None = 0
    batch_size: Count
    num_steps: Count
    implementation: Literal["scratch", "concise"] = "concise"
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
    lr: Positive = 1.0
    warmup: Annotated[float, Field(gt=0, lt=1)] | None = None
    weight_decay: NonNegative = 0.01
    clip_norm: Positive | None = None
    detach: bool = True
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "float32"
    num_processes: Count = 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.implementation == "scratch" and (self.cell, self.num_layers) != ("rnn", 1):
            raise ValueError("implementation: scratch needs cell: rnn and num_layers: 1; use concise for others")
        if self.cell != "rnn" and self.activation != "tanh":
            raise ValueError(f"activation: {self.activation} needs cell: rnn; {self.cell} allows tanh")
        if self.implementation == "scratch" and (self.embedding_dropout or self.dropout):
            raise ValueError("implementation: scratch has no dropout; use concise")
        if self.cell == "rnn" and self.weight_dropout:
            raise ValueError("weight_dropout: only for cells gru and lstm")
        if self.patience is not None and self.num_val == 0:
            raise ValueError("patience: needs a validation part; num_val is 0")
        if not self.detach and self.sampling != "sequential":
            raise ValueError(f"detach: false needs sampling: sequential, not {self.sampling}")
        check_shared(self.batch_size, self.num_processes)
        needed = least_tokens(self.sampling, self.batch_size, self.num_steps)
        if self.sampling != "windows" and self.num_train is not None and self.num_train < needed:
            minibatch = f"batch_size {self.batch_size} x num_steps {self.num_steps}"
            raise ValueError(f"{self.num_train} tokens are too few for {minibatch}: at least {needed} are needed")
        if self.num_val is not None and 0 < self.num_val <= self.num_steps:
            raise ValueError(f"num_val: {self.num_val} is not 0 or at least num_steps + 1 = {self.num_steps + 1}")
        return self


class RnnConfig(RnnRecipe):
    """`config.json` of a checkpoint: the recipe, the training data and the vocabulary of a language model.

    Attributes:
        epoch: number of the epoch whose weights were kept.
        train_range: first index, and one past the last, of the tokens that the model was trained on.
        data_sha256: hash of the corpus.
        level: level of the corpus and of the tokens.
        vocab_size: number of tokens in the vocabulary.
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
