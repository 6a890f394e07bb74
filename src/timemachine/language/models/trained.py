"""A trained language model, loaded from its checkpoint folder."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from timemachine.base.errors import UserError
from timemachine.base.files import read_json
from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnConfig
from timemachine.text.tokens.vocabulary import Tokenizer, Vocabulary
from timemachine.training.checkpoints import load_checkpoint


def load_module(folder: Path, vocabulary: Vocabulary) -> tuple[nn.Module, RnnConfig]:
    """Return the module of a checkpoint folder on the CPU, ready to be evaluated, and its config.

    Raises:
        UserError: a file is absent or damaged, or the model was trained with another vocabulary.
    """
    return load_checkpoint(folder, RnnConfig, lambda c: build_language_model(c, c.vocab_size), vocabulary.sha256)


@dataclass(frozen=True)
class LanguageModel:
    """A trained language model with its config and tokenizer.

    Attributes:
        module: maps indices (batch, num_steps) and a state to logits and a state; on the CPU.
        config: recipe and training data.
        tokenizer: tokenizer of the corpus that the model was trained on.
    """

    module: nn.Module
    config: RnnConfig
    tokenizer: Tokenizer

    @classmethod
    def load(cls, folder: Path) -> "LanguageModel":
        """Read `model.safetensors`, `config.json` and `vocabulary.json` of a checkpoint folder.

        Raises:
            UserError: a file is absent, damaged or does not match the others, or the model is of another kind.
        """
        content = read_json(folder / "config.json")
        if not isinstance(content, dict) or content.get("family") != "rnn":
            raise UserError(f"{folder}: not a language model according to its config.json")
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        module, config = load_module(folder, vocabulary)
        return cls(module, config, Tokenizer(vocabulary, config.level))
