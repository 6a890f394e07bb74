"""From files of text to corpora."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal

import numpy as np

from timemachine.base.errors import UserError
from timemachine.base.files import sha256_of
from timemachine.text.preparation.clean import Cleaning, count_lines
from timemachine.text.preparation.config import Licence, TextEntry
from timemachine.text.preparation.numbering import Numbered
from timemachine.text.preparation.reading import read_piece
from timemachine.text.preparation.sources import files_in, sha256_of_text
from timemachine.text.tokens.config import Level
from timemachine.text.tokens.corpus import PARTS, Corpus, Part, map_tokens, write_tokens
from timemachine.text.tokens.vocabulary import Vocabulary

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A file of text: an accepted text, a text, or a shard of a text.

    Attributes:
        path: of the file.
        encoding: of the file.
        licence: what is cut from the file, see `timemachine.text.preparation.reading`.
    """

    path: Path
    encoding: str = "utf-8"
    licence: Licence = "none"

    def blocks(self) -> Iterator[bytes]:
        """Yield the text as UTF-8.

        Raises:
            UserError: the file is not a text.
        """
        text = read_piece(self.path, self.encoding, self.licence)
        for begin in range(0, len(text), _BLOCK_BYTES):
            yield bytes(text[begin : begin + _BLOCK_BYTES])


def text_pieces(raw: Path, name: str, entry: TextEntry) -> list[Piece]:
    """Return the file of a text, or its shards by name.

    Args:
        raw: the folder `data/raw`.
        name: of the text.
        entry: its entry in the section `texts`.

    Raises:
        UserError: the text is not there.
    """
    if not (paths := files_in(raw / name)):
        raise UserError(f"{raw / name}: no such text; run `dvc repro`")
    return [Piece(path, entry.encoding, entry.licence) for path in paths]


def accepted_pieces(folder: Path) -> list[Piece]:
    """Return the texts that extend the train part, by file name. Hidden files are left out.

    Raises:
        UserError: a file is a link.
    """
    paths = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    if links := [path for path in paths if path.is_symlink()]:
        raise UserError(f"{links[0]}: a link; put the text itself here")
    return [Piece(path) for path in paths]


def build_corpus(
    text: str | Sequence[str | Piece],
    *,
    cleaning: Cleaning,
    level: Level,
    order: Literal["frequency", "sorted"],
    min_freq: int,
    reserved_tokens: list[str],
    fractions: tuple[float, float, float],
    max_held_out: int = 1_000_000,
    added: Sequence[str | Piece] = (),
    folder: Path | None = None,
) -> Corpus:
    """Clean, tokenize, index and split a text.

    Args:
        text: the text, or its pieces in order. Each is cleaned on its own, and each but the last ends a line.
        cleaning: `lines` or `whole`, see `timemachine.text.preparation.clean`.
        level: `char` or `word`.
        order: of the vocabulary, see `Vocabulary.build`.
        min_freq: tokens with a smaller count become `<unk>`.
        reserved_tokens: tokens that the vocabulary has even if they do not occur.
        fractions: of train, validation and test. The number of tokens is rounded down.
        max_held_out: most tokens of the validation part, and of the test part. The train part has the others.
        added: further pieces. They are put before the train part, so the validation and test parts, and the text
            before them, do not depend on them.
        folder: where the corpus is written while it is built. Its tokens are then a memory map, and memory does
            not grow with their number. Without a folder the tokens are in memory.

    Raises:
        UserError: a piece is not a text, or a part would be empty.
    """
    pieces = [*added, *([text] if isinstance(text, str) else text)]
    with _scratch_file(folder) as file:
        numbered = Numbered(file, cleaning, level)
        starts = [0]
        for i, piece in enumerate(pieces):
            starts.append(numbered.add(_blocks(piece, ends_a_line=i < len(pieces) - 1)))
        num_tokens, num_added = starts.pop(), starts[len(added)]
        split = _split(num_tokens, num_added, fractions, max_held_out)
        counts = numbered.counts()
        vocabulary = Vocabulary.build(counts, order=order, min_freq=min_freq, reserved_tokens=reserved_tokens)
        dtype = np.min_scalar_type(len(vocabulary) - 1)
        indices = numbered.indices(vocabulary, dtype)
        if folder is None:
            tokens = np.concatenate([*indices])
        else:
            write_tokens(folder / "tokens.npy", indices, num_tokens, dtype)
            tokens = map_tokens(folder / "tokens.npy")
    unknown = {token: count for token, count in counts.items() if token not in vocabulary}
    num_characters = sum(len(token) * count for token, count in unknown.items())
    unk_length = num_characters / sum(unknown.values()) if unknown else 0.0
    corpus = Corpus(tokens, vocabulary, level, unk_length, split, num_added, tuple(starts))
    if folder is not None:
        corpus.save_description(folder)
    return corpus


@contextmanager
def _scratch_file(folder: Path | None) -> Iterator[IO[bytes]]:
    """Yield a file without a name in a folder, or in memory."""
    if folder is None:
        yield BytesIO()
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        error.add_note(f"{folder} was not written and is unchanged")
        raise


def _blocks(piece: str | Piece, ends_a_line: bool) -> Iterator[bytes]:
    yield from [piece.encode()] if isinstance(piece, str) else piece.blocks()
    if ends_a_line:
        yield b"\n"


def _split(
    num_tokens: int, num_added: int, fractions: tuple[float, float, float], max_held_out: int
) -> dict[Part, tuple[int, int]]:
    """Return where the parts begin and end. The added tokens are the first of the train part."""
    num_own = num_tokens - num_added
    train, val, _ = fractions
    # Rounded because 0.8 + 0.1 is slightly more than 0.9.
    num_train, num_not_test = (int(num_own * part) for part in (train, round(train + val, 9)))
    test_begin = num_tokens - min(num_own - num_not_test, max_held_out)
    val_begin = test_begin - min(num_not_test - num_train, max_held_out)
    cuts = [0, val_begin, test_begin, num_tokens]
    split = {part: (cuts[i], cuts[i + 1]) for i, part in enumerate(PARTS)}
    for part, (begin, end) in split.items():
        if begin == end or (part == "train" and end == num_added):
            raise UserError(f"a text of {num_own} tokens leaves the {part} part empty")
    return split


def summarise(
    texts: Mapping[str, Sequence[Piece]], added: Sequence[Piece], corpora: Mapping[str, Corpus]
) -> dict[str, Any]:
    """Return the report: size and hash of each text, hashes of the added texts, sizes of the corpora.

    Args:
        texts: the files of each text, by the text's name.
        added: the added texts.
        corpora: by name.
    """
    return {
        "texts": {name: _summary(pieces) for name, pieces in texts.items()},
        "added": {piece.path.name: sha256_of(piece.path) for piece in added},
        "corpora": {n: {"tokens": len(c.tokens), "vocab_size": len(c.vocabulary)} for n, c in corpora.items()},
    }


def _summary(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return the lines that are read of a text, and the bytes, the hash and the number of its files."""
    return {
        "num_lines": sum(count_lines(piece.blocks()) for piece in pieces),
        "num_bytes": sum(piece.path.stat().st_size for piece in pieces),
        "sha256": sha256_of_text({piece.path.name: sha256_of(piece.path) for piece in pieces}),
        "shards": len(pieces),
    }
