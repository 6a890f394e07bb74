"""What stands before a token: its contexts, as hashes of the letters, words and classes of words before it.

A context is a 64-bit hash, so that contexts of any length cost the same. All of them are computed from a history
of fixed size, which is brought up to date after each token. No context depends on the token that it predicts, or
on a later one.

Words are runs of tokens between tokens that are no letters or digits. The class of a word is its last two or three
letters, or the word itself if it has at most one letter more: words with the same ending are often the same part
of speech.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import compiled

# The names of the contexts. `o<k>`: the last k letters. `current`: the current word so far. Then, together with
# `current`: one and two words before (`word_1`, `word_2`); the word before the last, and one more (`skip_1`,
# `skip_2`); the word that followed the last word when it last occurred (`follower`); classes of the last one, two
# and three words by two letters (`class_1` …), and of the second and third last by three letters (`class_2_3`).
# `place`: number of letters of the current word so far, alone, with the last word, with the last letter, and with
# both. `word_letter`: last word and last letter. `first`: first letter and place in the word, and two letters.
# `kinds`: two letters, and the kinds (vowel, y, other, separator) of the two before.
MAX_LETTERS = 8
LETTERS = tuple(f"o{k}" for k in range(MAX_LETTERS + 1))
CONTEXTS = (
    *LETTERS,
    *(
        "current",
        "word_1",
        "word_2",
        "skip_1",
        "skip_2",
        "follower",
        "class_1",
        "class_2",
        "class_3",
        "class_2_3",
    ),
    *("place", "place_word", "place_letter", "word_letter", "place_word_letter", "first", "kinds"),
)

# Positions in `History.words`. Words and classes are ordered from the last one back.
_CURRENT, _WORDS, _CLASSES, _LONG_CLASSES, _FOLLOWER, _FIRST, _LENGTH, _SIZE = 0, 1, 4, 7, 10, 11, 12, 13
_NUM_FOLLOWERS, _MOST_PROBES = 2**18, 64
_KINDS = ("aeiou", "y")


class History(NamedTuple):
    """What has been read, as far as contexts need it.

    Attributes:
        letters: (8,) the last tokens, the latest first; `vocab_size` where the text has not begun.
        words: (13,) hashes of the current word, of the last three words and their classes, and others.
        followers: (2^18, 2) hash of a word, 0 for a free row, and of the word that followed it the last time; a
            hash table with linear probing.
        kinds: (vocab_size + 1,) the kind of each token: 0 separator, 1 vowel, 2 y, 3 other, 4 before the text.
    """

    letters: NDArray[np.int64]
    words: NDArray[np.uint64]
    followers: NDArray[np.uint64]
    kinds: NDArray[np.int64]


def new_history(tokens: Sequence[str]) -> History:
    """Return the history before the first token, for a vocabulary of characters."""
    return History(
        np.full(MAX_LETTERS, len(tokens), dtype=np.int64),
        np.zeros(_SIZE, dtype=np.uint64),
        np.zeros((_NUM_FOLLOWERS, 2), dtype=np.uint64),
        np.array([*map(_kind, tokens), len(_KINDS) + 2]),
    )


def _kind(token: str) -> int:
    if not token.isalnum():
        return 0
    letter = unicodedata.normalize("NFD", token)[0].lower()
    return next((i for i, letters in enumerate(_KINDS, 1) if letter in letters), len(_KINDS) + 1)


@compiled
def combined(first: np.uint64, second: np.uint64) -> np.uint64:
    """Return a hash of two hashes (the finaliser of MurmurHash3 on their combination)."""
    h = first * np.uint64(0x9E3779B97F4A7C15) + second + np.uint64(0x165667B19E3779F9)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@compiled
def set_contexts(history: History, out: NDArray[np.uint64]) -> None:
    """Write the hash of each of `CONTEXTS` into `out`, (num_contexts,)."""
    letters, words = history.letters, history.words
    last, before = np.uint64(letters[0]), np.uint64(letters[1])
    current, word, length = words[_CURRENT], words[_WORDS], words[_LENGTH]
    out[0] = np.uint64(0)
    for k in range(MAX_LETTERS):
        out[k + 1] = combined(out[k], np.uint64(letters[k]))
    i = MAX_LETTERS + 1
    out[i] = current
    out[i + 1] = combined(current, word)
    out[i + 2] = combined(out[i + 1], words[_WORDS + 1])
    out[i + 3] = combined(current, words[_WORDS + 1])
    out[i + 4] = combined(out[i + 3], words[_WORDS + 2])
    out[i + 5] = combined(current, words[_FOLLOWER])
    out[i + 6] = combined(current, words[_CLASSES])
    out[i + 7] = combined(out[i + 6], words[_CLASSES + 1])
    out[i + 8] = combined(out[i + 7], words[_CLASSES + 2])
    out[i + 9] = combined(combined(current, words[_LONG_CLASSES + 1]), words[_LONG_CLASSES + 2])
    out[i + 10] = length
    out[i + 11] = combined(word, length)
    out[i + 12] = combined(last, length)
    out[i + 13] = combined(word, last)
    out[i + 14] = combined(out[i + 13], length)
    out[i + 15] = combined(combined(words[_FIRST], min(length, np.uint64(8))), combined(last, before))
    kinds = combined(np.uint64(history.kinds[letters[2]]), np.uint64(history.kinds[letters[3]]))
    out[i + 16] = combined(combined(last, before), kinds)


@compiled
def append(history: History, token: int) -> None:
    """Bring the history up to date after a token."""
    letters, words = history.letters, history.words
    if history.kinds[token] == 0:
        _end_word(history)
    else:
        if words[_LENGTH] == np.uint64(0):
            words[_FIRST] = np.uint64(token + 1)
        words[_CURRENT] = combined(words[_CURRENT], np.uint64(token + 1))
        words[_LENGTH] += np.uint64(1)
    for k in range(MAX_LETTERS - 1, 0, -1):
        letters[k] = letters[k - 1]
    letters[0] = token


@compiled
def _follower_key(word: np.uint64) -> np.uint64:
    return combined(word, np.uint64(0))  # not 0 for the empty word


@compiled
def _row_of(followers: NDArray[np.uint64], key: np.uint64) -> int:
    """Return the row of a key, or the free one where it belongs, or one to replace if there are too many words."""
    row = int(np.int64(key & np.uint64(_NUM_FOLLOWERS - 1)))
    for _ in range(_MOST_PROBES - 1):
        if followers[row, 0] == key or followers[row, 0] == np.uint64(0):
            return row
        row = (row + 1) % _NUM_FOLLOWERS
    return row


@compiled
def _end_word(history: History) -> None:
    letters, words, followers = history.letters, history.words, history.followers
    word, length = words[_CURRENT], words[_LENGTH]
    key = _follower_key(words[_WORDS])
    row = _row_of(followers, key)
    followers[row, 0], followers[row, 1] = key, word
    two = combined(np.uint64(letters[1] + 1), np.uint64(letters[0] + 1))
    for k in (2, 1):
        words[_WORDS + k] = words[_WORDS + k - 1]
        words[_CLASSES + k] = words[_CLASSES + k - 1]
        words[_LONG_CLASSES + k] = words[_LONG_CLASSES + k - 1]
    words[_WORDS] = word
    words[_CLASSES] = word if length <= np.uint64(3) else two
    words[_LONG_CLASSES] = word if length <= np.uint64(4) else combined(np.uint64(letters[2] + 1), two)
    key = _follower_key(word)
    row = _row_of(followers, key)
    words[_FOLLOWER] = followers[row, 1] if followers[row, 0] == key else np.uint64(0)
    words[_CURRENT] = words[_LENGTH] = words[_FIRST] = np.uint64(0)


@compiled
def place_in_word(history: History) -> int:
    """Return the number of letters of the current word so far."""
    return int(history.words[_LENGTH])
