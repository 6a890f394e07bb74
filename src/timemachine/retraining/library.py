"""The library of a repository, kept in `.timemachine/` so that a round reads only texts that are new to it."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from timemachine.base.files import write_bytes
from timemachine.pipeline.params import Params
from timemachine.retraining.admission import Library, book_runs
from timemachine.retraining.runs import Hashes, Texts, hash_words, runs_of
from timemachine.text.preparation.fetch import fetch_text
from timemachine.text.preparation.prepare import accepted_pieces
from timemachine.text.preparation.reading import as_text, read_piece

_KEPT = Path(".timemachine/admission")
# To be raised when the hashes change.
_FORMAT = 1


def open_library(params: Params, root: Path) -> Library:
    """Return the runs of the texts of a repository.

    Args:
        params: all parameters.
        root: the repository root.

    Raises:
        UserError: a text that a corpus names is not available, or an accepted text cannot be read.
    """
    corpora = sorted({tuple(recipe.texts) for recipe in params.preprocess.corpora.values()})
    entries = {name: params.texts[name].model_dump(mode="json") for texts in corpora for name in texts}
    made_of = [_FORMAT, corpora, entries, params.preprocess.split.model_dump(mode="json")]
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).digest()
    kept = _read(root / _KEPT, key)
    if kept:
        book, held_out, accepted, hashes = kept
    else:
        words = {name: _words(name, params, root) for name in entries}
        book, held_out = book_runs([[words[name] for name in texts] for texts in corpora], params.preprocess.split)
        accepted, hashes = Texts(), {}
    found = {piece.path.name: piece.path for piece in accepted_pieces(root / "data/accepted")}
    is_new = not kept
    for name in hashes.keys() - found.keys():
        accepted.remove(name)
        is_new = bool(hashes.pop(name))
    for name, path in found.items():
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if hashes.get(name) != sha256:
            accepted.add(name, runs_of(hash_words(as_text(content, path))))
            hashes[name] = sha256
            is_new = True
    if is_new:
        with suppress(OSError):  # the next round makes it again
            _write(root / _KEPT, key, book, held_out, accepted, hashes)
    return Library(book, held_out, accepted)


def _words(name: str, params: Params, root: Path) -> Hashes:
    """Return the hashes of the words of a text, which is fetched if it is not there."""
    entry = params.texts[name]
    files = fetch_text(name, entry, params.download, root / "data/raw", root, report=lambda _: None)
    return np.concatenate([hash_words(read_piece(path, entry.encoding, entry.licence)) for path in files])


def _write(
    path: Path, key: bytes, book: Hashes, held_out: Hashes, accepted: Texts, hashes: dict[str, str]
) -> None:
    names, runs, numbers = accepted.union()
    texts = np.frombuffer(json.dumps([[name, hashes[name]] for name in names]).encode(), np.uint8)
    content = save({"book": book, "held_out": held_out, "runs": runs, "numbers": numbers, "texts": texts})
    write_bytes(path, hashlib.sha256(key + content).digest() + content)


def _read(path: Path, key: bytes) -> tuple[Hashes, Hashes, Texts, dict[str, str]] | None:
    """Return what `_write` wrote, or None if it was made of something else or is damaged."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    begin = hashlib.sha256().digest_size
    if hashlib.sha256(key + kept[begin:]).digest() != kept[:begin]:
        return None
    arrays = load(kept[begin:])
    hashes = dict(json.loads(arrays["texts"].tobytes()))
    return arrays["book"], arrays["held_out"], Texts(hashes, arrays["runs"], arrays["numbers"]), hashes
