"""A corpus on disk: tokens, vocabulary, and the train, validation and test part."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_json, replacing, write_json
from timemachine.text.tokens.config import Level
from timemachine.text.tokens.vocabulary import Tokenizer, Vocabulary

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, Part, Part] = ("train", "val", "test")
HELD_OUT: tuple[Part, Part] = ("val", "test")
Tokens = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Corpus:
    """A sequence of token indices with its vocabulary and its parts.

    Attributes:
        tokens: (num_tokens,) indices, of the smallest unsigned type that fits. After `load` they are a read-only
            memory map.
        vocabulary: the tokens by index.
        level: `char` or `word`.
        unk_length: mean number of characters of the tokens that `<unk>` replaces.
        split: first index, and one past the last, of the contiguous parts `train`, `val`, `test`.
        num_added: number of tokens at the start of the train part that come from added texts.
        pieces: (num_pieces,) first index of each file that the tokens come from.
    """

    tokens: Tokens
    vocabulary: Vocabulary
    level: Level
    unk_length: float
    split: dict[Part, tuple[int, int]]
    num_added: int = 0
    pieces: tuple[int, ...] = (0,)

    @property
    def tokenizer(self) -> Tokenizer:
        """The conversion between text and indices."""
        return Tokenizer(self.vocabulary, self.level)

    @property
    def sha256(self) -> str:
        """The hash of tokens, vocabulary and parts; not of the pieces, which old checkpoints do not know."""
        layout = {key: value for key, value in self._layout().items() if key != "pieces"}
        description = json.dumps([self.vocabulary.sha256, layout], sort_keys=True)
        digest = hashlib.sha256(description.encode())
        digest.update(np.ascontiguousarray(self.tokens).data)
        return digest.hexdigest()

    def part(self, part: Part) -> Tokens:
        """Return the tokens of one part."""
        begin, end = self.split[part]
        return self.tokens[begin:end]

    def characters(self, indices: Tokens) -> NDArray[np.float64]:
        """Return the number of characters of cleaned text for each of the tokens (num_tokens,)."""
        if self.level == "char":
            return np.ones(len(indices))
        lengths = np.array([len(token) + 1 for token in self.vocabulary.tokens], dtype=np.float64)
        lengths[self.vocabulary.unk] = self.unk_length + 1
        return lengths[indices]

    def num_characters(self, indices: Tokens) -> float:
        """Return the number of characters of cleaned text of all tokens; a word includes the space after it."""
        return float(len(indices) if self.level == "char" else self.characters(indices).sum())

    def save(self, folder: str | Path) -> None:
        """Write `tokens.npy`, `vocabulary.json` and `split.json` into a folder."""
        write_tokens(Path(folder) / "tokens.npy", [self.tokens], len(self.tokens), self.tokens.dtype)
        self.save_description(folder)

    def save_description(self, folder: str | Path) -> None:
        """Write `vocabulary.json` and `split.json` into a folder that has the tokens."""
        self.vocabulary.save(Path(folder) / "vocabulary.json")
        write_json(Path(folder) / "split.json", self._layout())

    def _layout(self) -> dict[str, Any]:
        """Return the content of `split.json`."""
        return {
            "level": self.level,
            "unk_length": self.unk_length,
            "num_added": self.num_added,
            "pieces": list(self.pieces),
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
        # Of a map of its own, because the pages that are read stay in memory until the map is closed.
        if map_tokens(path).max(initial=0) >= len(vocabulary):
            raise UserError(f"{path}: not indices into {folder / 'vocabulary.json'}; recreate it with `dvc repro`")
        tokens, content = map_tokens(path), read_json(folder / "split.json")
        try:
            level, unk_length = content["level"], float(content["unk_length"])
            num_added, pieces = int(content["num_added"]), tuple(map(int, content["pieces"]))
            split = {part: (int(content[part][0]), int(content[part][1])) for part in PARTS}
            cuts = [0, *(end for _, end in split.values())]
            fits = [begin for begin, _ in split.values()] == cuts[:-1] and cuts[-1] == len(tokens)
            fits = fits and cuts == sorted(set(cuts)) and 0 <= num_added < cuts[1]
            fits = fits and pieces[0] == 0 and [*pieces, len(tokens)] == sorted([*pieces, len(tokens)])
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            fits = False
        if not fits or level not in ("char", "word"):
            raise UserError(f"{folder / 'split.json'}: does not fit {path}; recreate it with `dvc repro`")
        return cls(tokens, vocabulary, level, unk_length, split, num_added, pieces)


def write_tokens(path: Path, blocks: Iterable[Tokens], num_tokens: int, dtype: np.dtype[Any]) -> None:
    """Write tokens as a NumPy file, a block at a time.

    Args:
        path: of the file.
        blocks: (block_tokens,) the tokens, in order.
        num_tokens: of all blocks.
        dtype: of the tokens.
    """
    header = {"descr": dtype.str, "fortran_order": False, "shape": (num_tokens,)}
    # np.save does not notice a full disk when it writes to a file.
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


def map_tokens(path: Path) -> Tokens:
    """Return the tokens in a file of `write_tokens` as a read-only memory map.

    Raises:
        UserError: the file does not exist or is damaged.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
    except (OSError, ValueError, SyntaxError, TokenError) as error:
        raise UserError(f"{path}: {error}; recreate it with `dvc repro`") from None
    fits = version == (1, 0) and len(shape) == 1 and dtype.kind == "u"
    # Compared before it is mapped: numpy multiplies sizes without a check for overflow.
    if not fits or path.stat().st_size != offset + shape[0] * dtype.itemsize:
        raise UserError(f"{path}: damaged; recreate it with `dvc repro`")
    return np.asarray(np.memmap(path, dtype, "r", offset, (int(shape[0]),)))
