"""A trained language model, ready to read and write: what a checkpoint folder holds."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from timemachine.models.language import rebuild_language_model
from timemachine.params import RnnConfig
from timemachine.text.vocabulary import Tokenizer, Vocabulary
from timemachine.training.checkpoints import load_checkpoint

# Where a checkpoint lies in the MLflow model folder around it.
PACKAGED = "data/checkpoint"


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
            ValueError: a file is absent, damaged or does not fit the others.
        """
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        module, config = load_checkpoint(folder, RnnConfig, rebuild_language_model, vocabulary.sha256)
        return cls(module, config, Tokenizer(vocabulary, config.level))


def trained_recipes(models: Path) -> list[str]:
    """Return the names of the recipes that have a checkpoint in `data/models/rnn`."""
    return sorted(path.parent.name for path in models.glob("*/config.json"))


def find_checkpoint(models: Path, name: str) -> Path:
    """Return the checkpoint folder that a name means.

    Args:
        models: the folder with a folder for each recipe, `data/models/rnn`.
        name: of a recipe, or the path of a checkpoint folder, or of an MLflow model folder around one.

    Raises:
        ValueError: there is none; the message names the recipes there are.
    """
    recipes = trained_recipes(models)
    if name in recipes:
        return models / name
    for folder in (Path(name), Path(name) / PACKAGED):
        if (folder / "config.json").is_file():
            return folder
    known = f"{models} has {', '.join(recipes)}" if recipes else f"{models} has none yet; `dvc repro` makes them"
    raise ValueError(f"{name!r} is neither a trained recipe nor a checkpoint folder; {known}")
