"""A trained language model, ready to read and write: what a checkpoint folder holds."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from timemachine.base.errors import UserError
from timemachine.base.files import read_json
from timemachine.language.models.build import rebuild_language_model
from timemachine.language.models.config import RnnConfig
from timemachine.text.vocabulary import Tokenizer, Vocabulary
from timemachine.training.checkpoints import load_checkpoint


@dataclass(frozen=True)
class LanguageModel:
    """A language model with its vocabulary.

    Attributes:
        module: maps indices (batch, num_steps) and a state to logits and a state; on the CPU.
        config: what it is and what it was trained on.
        tokenizer: of the corpus that it was trained on.
    """

    module: nn.Module
    config: RnnConfig
    tokenizer: Tokenizer

    @classmethod
    def load(cls, folder: Path) -> "LanguageModel":
        """Read a checkpoint folder: `model.safetensors`, `config.json` and `vocabulary.json`.

        Raises:
            UserError: a file is absent, damaged or does not fit the others, or this is another kind of model.
        """
        content = read_json(folder / "config.json")
        if not isinstance(content, dict) or content.get("family") != "rnn":
            raise UserError(f"{folder}: not a language model, by its config.json")
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        module, config = load_checkpoint(folder, RnnConfig, rebuild_language_model, vocabulary.sha256)
        return cls(module, config, Tokenizer(vocabulary, config.level))
