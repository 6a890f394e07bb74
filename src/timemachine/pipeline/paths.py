"""Names and paths of language models. This module does not import torch, which takes seconds."""

from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.language.comparison.config import CONTEXT_MIXING

# The states of trainings, a folder each.
STATES = Path(".timemachine/resume")

# Of a text that is counted in parts: partial counts of its n-grams, and what their sums spill, a folder a process.
COUNTS, SPILL = Path(".timemachine/counts"), Path(".timemachine/spill")

# Aliases of versions of the registered model. They have priority over recipes of the same name.
ALIASES = ("champion", "challenger", "previous")

# Files of a checkpoint folder, of any model and of a language model.
CHECKPOINT = ("model.safetensors", "config.json", "history.csv", "environment.json")
LANGUAGE_MODEL = (*CHECKPOINT, "vocabulary.json")

# Folder of the checkpoint in an MLflow model folder.
PACKAGED = "data/checkpoint"

# Environment variable of the model server: what it serves, as a JSON object.
SERVED = "TIMEMACHINE_SERVED"


def trained_recipes(models: Path) -> list[str]:
    """Return the names of the recipes that have a checkpoint in `data/models/rnn`."""
    return sorted(path.parent.name for path in models.glob("*/config.json"))


def find_checkpoint(models: Path, name: str) -> Path:
    """Return the checkpoint folder of a model.

    Args:
        models: `data/models/rnn`, which has a folder for each recipe.
        name: name of a recipe, or path of a checkpoint folder or of an MLflow model folder.

    Raises:
        UserError: there is no such model; the message lists the recipes.
    """
    recipes = trained_recipes(models)
    if name in recipes:
        return models / name
    for folder in (Path(name), Path(name) / PACKAGED):
        if (folder / "config.json").is_file():
            return folder
    known = f"{models} has {', '.join(recipes)}" if recipes else f"{models} has none yet; run `dvc repro`"
    raise UserError(f"{name!r} is neither {CONTEXT_MIXING}, a trained recipe nor a checkpoint folder; {known}")
