"""Names that a shell completes after a command. They are read from params.yaml, whose values may be wrong."""

from typing import Any

from timemachine.base.config import read_yaml
from timemachine.base.errors import UserError
from timemachine.language.comparison.config import CONTEXT_MIXING
from timemachine.pipeline.paths import ALIASES
from timemachine.pipeline.stage import repository_root


def _mappings(content: Any) -> dict[str, dict[str, Any]]:
    """Return the values of a mapping that are mappings themselves, by their keys."""
    items = content.items() if isinstance(content, dict) else ()
    return {str(key): value for key, value in items if isinstance(value, dict)}


def _sections() -> dict[str, dict[str, Any]]:
    """Return the sections of params.yaml; none outside a repository, or if the file is not YAML."""
    try:
        return _mappings(read_yaml(repository_root() / "params.yaml"))
    except UserError:
        return {}


def recipes(incomplete: str) -> list[str]:
    """Return the recipes of language models that begin with a text."""
    return [name for name in _mappings(_sections().get("train_rnn")) if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Return the language models that can write and begin with a text, checkpoint folders excepted."""
    named = [name for name in (*ALIASES, CONTEXT_MIXING) if name.startswith(incomplete)]
    return [*named, *recipes(incomplete)]


def aliases(incomplete: str) -> list[str]:
    """Return the aliases of versions of the registered model that begin with a text."""
    return [name for name in ALIASES if name.startswith(incomplete)]


def sections(incomplete: str) -> list[str]:
    """Return the sections of params.yaml, and their entries, that begin with a text."""
    found = _sections()
    entries = [(section, name) for section, content in found.items() for name in _mappings(content)]
    names = [*found, *(".".join(entry) for entry in entries), *(name for _, name in entries)]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
