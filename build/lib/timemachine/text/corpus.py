"""A corpus on disk: tokens, vocabulary, and the train, validation and test part."""

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_json, write_bytes, write_json
from timemachine.text.config import Level
from timemachine.text.vocabulary import Tokenizer, Vocabulary

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, Part, Part] = ("train", "val", "test")
HELD_OUT: tuple[Part, Part] = ("val", "test")


@dataclass(frozen=True)
class Corpus:
    """A sequence of token indices with its vocabulary and its parts.

    Attributes:
        tokens: (num_tokens,) indices, of the smallest unsigned type that fits.
        vocabulary: the tokens by index.
        level: `char` or `word`.
        unk_length: mean number of characters of the tokens that `<unk>` replaces.
        split: first index, and one past the last, of the contiguous parts `train`, `val`, `test`.
        num_added: number of tokens at the start of the train part that come from added texts.
    """

    tokens: NDArray[np.unsignedinteger]
    vocabulary: Vocabulary
    level: Level
    unk_length: float
    split: dict[Part, tuple[int, int]]
    num_added: int = 0

    @property
    def tokenizer(self) -> Tokenizer:
        """The conversion between text and indices."""
        return Tokenizer(self.vocabulary, self.level)

    @property
    def sha256(self) -> str:
        """The hash of tokens, vocabulary and parts."""
        description = json.dumps([self.vocabulary.sha256, self._layout()], sort_keys=True)
        return hashlib.sha256(description.encode() + self.tokens.tobytes()).hexdigest()

    def part(self, part: Part) -> NDArray[np.unsignedinteger]:
        """Return the tokens of one part."""
        begin, end = self.split[part]
        return self.tokens[begin:end]

    def characters(self, indices: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
        """Return the number of characters of cleaned text for each of the tokens (num_tokens,)."""
        if self.level == "char":
            return np.ones(len(indices))
        lengths = np.array([len(token) + 1 for token in self.vocabulary.tokens], dtype=np.float64)
        lengths[self.vocabulary.unk] = self.unk_length + 1
        return lengths[indices]

    def num_characters(self, indices: NDArray[np.unsignedinteger]) -> float:
        """Return the number of characters of cleaned text of all tokens; a word includes the space after it."""
        return float(self.characters(indices).sum())

    def save(self, folder: str | Path) -> None:
        """Write `tokens.npy`, `vocabulary.json` and `split.json` into a folder."""
        folder = Path(folder)
        content = BytesIO()  # numpy does not notice a full disk when it writes to a file
        np.save(content, self.tokens, allow_pickle=False)
        write_bytes(folder / "tokens.npy", content.getvalue())
        self.vocabulary.save(folder / "vocabulary.json")
        write_json(folder / "split.json", self._layout())

    def _layout(self) -> dict[str, Any]:
        """Return the content of `split.json`."""
        return {
            "level": self.level,
            "unk_length": self.unk_length,
            "num_added": self.num_added,
            **{part: list(ends) for part, ends in self.split.items()},
        }

    @classmethod
    def load(cls, folder: str | Path) -> "Corpus":
        """Read a corpus.

        Raises:
            UserError: a file does not exist, is damaged, or does not fit the others.
        """
        folder = Path(folder)
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        path = folder / "tokens.npy"
        try:
            with path.open("rb") as file:
                tokens = np.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError, MemoryError) as error:  # MemoryError: a damaged shape
            raise UserError(f"{path}: {error}; recreate it with `dvc repro`") from None
        if tokens.ndim != 1 or tokens.dtype.kind != "u" or (tokens.size and tokens.max() >= len(vocabulary)):
            raise UserError(f"{path}: not indices into {folder / 'vocabulary.json'}; recreate it with `dvc repro`")
        content = read_json(folder / "split.json")
        try:
            level, unk_length = content["level"], float(content["unk_length"])
            num_added = int(content["num_added"])
            split = {part: (int(content[part][0]), int(content[part][1])) for part in PARTS}
            cuts = [0, *(end for _, end in split.values())]
            fits = [begin for begin, _ in split.values()] == cuts[:-1] and cuts[-1] == len(tokens)
            fits = fits and cuts == sorted(set(cuts)) and 0 <= num_added < cuts[1]
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            fits = False
        if not fits or level not in ("char", "word"):
            raise UserError(f"{folder / 'split.json'}: does not fit {path}; recreate it with `dvc repro`")
        return cls(tokens, vocabulary, level, unk_length, split, num_added)
