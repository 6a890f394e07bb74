"""n-gram counts of a corpus of any size: in memory, by DuckDB with a limit of memory, or on a cluster by Ray.

All engines yield the same rows as `count_ngrams` returns. The last two count spans of the text alone; DuckDB adds
these partial counts up and sorts the sums, and writes to disk what does not fit the memory.
"""

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import is_running
from timemachine.language.ngrams import cluster
from timemachine.language.ngrams.config import NgramsParams
from timemachine.language.ngrams.counts import MOST_TOKENS, count_ngrams
from timemachine.language.ngrams.partial import (
    SHORT,
    SPAN,
    Partial,
    TokenFile,
    count_between,
    count_span,
    cut,
)

if TYPE_CHECKING:
    import duckdb

# Distinct n-grams (num_rows, n) and their counts (num_rows,).
Rows = tuple[NDArray[np.integer], NDArray[np.int64]]

# The most rows that are in memory at a time as Python strings.
_ROWS = 2**18
# `count_ngrams` needs at most so many bytes for a token of a text in which all n-grams are distinct.
_BYTES_PER_TOKEN = 64
# GB that Python, numpy and the counts of one span need beside DuckDB's own memory, and DuckDB at least.
_BESIDE_GB, _LEAST_GB = 0.7, 0.1


def choose_engine(p: NgramsParams, num_tokens: int) -> Literal["memory", "duckdb", "ray"]:
    """Return the engine that counts a text: with `auto`, memory if it can hold the counts, else DuckDB."""
    if p.engine != "auto":
        return p.engine
    fits = num_tokens * _BYTES_PER_TOKEN <= p.max_memory * 1e9 and num_tokens <= MOST_TOKENS
    return "memory" if fits else "duckdb"


def count_in_blocks(
    tokens: NDArray[np.unsignedinteger],
    pieces: Sequence[int],
    n: int,
    vocab_size: int,
    p: NgramsParams,
    scratch: Path,
    length: int = SPAN,
    short: int = SHORT,
) -> Generator[Rows]:
    """Yield the distinct n-grams of a text and their counts in blocks, in the order of `count_ngrams`.

    Args:
        tokens: (num_tokens,) indices, in memory or mapped from a file.
        pieces: (num_pieces,) first index of each file of the text.
        n: tokens of an n-gram.
        vocab_size: number of indices.
        p: the engine, its memory and the partitions of its shuffle.
        scratch: folder for partial counts, which are kept, and for what does not fit the memory.
        length: most tokens of a span.
        short: tokens up to which pieces are joined.

    Raises:
        UserError: `vocab_size` ** n does not fit into 63 bits, the disk is full, `max_memory` is too small, or the
            cluster is not there or lost.
    """
    engine = choose_engine(p, len(tokens))
    if engine == "memory":
        ngrams, counts = count_ngrams(tokens, n, vocab_size)
        for begin in range(0, len(counts), _ROWS):
            yield ngrams[begin : begin + _ROWS], counts[begin : begin + _ROWS]
        return
    kept = scratch / "counts"
    with _spilling(scratch, n, p.max_memory) as (folder, connection):
        source = TokenFile.of(tokens, folder)
        spans = cut(pieces, len(tokens), length, short)
        _write(connection, count_between(source, spans, n, vocab_size), folder / "between.parquet")
        if engine == "ray":
            cluster.count(source, spans, n, vocab_size, p.num_partitions, p.max_memory, kept, folder)
        else:
            for i, span in enumerate(spans):
                _write(connection, count_span(source, span, n, vocab_size, kept), folder / f"{i}.parquet")
        _remove_older(kept, n, folder)
        sums = connection.execute(
            "SELECT key, sum(count)::BIGINT AS count, min(first) AS first FROM read_parquet(?) "
            "GROUP BY key ORDER BY count DESC, first",
            [glob.escape(str(folder)) + "/*.parquet"],
        )
        # One vector of DuckDB has 2048 rows.
        while len(rows := sums.fetch_df_chunk(_ROWS // 2048)):
            yield _unpack(rows["key"].to_numpy(), n, vocab_size), rows["count"].to_numpy()


def spilled_by_killed(spill: Path) -> list[Path]:
    """Return the folders that are left below `spill` of processes that were killed."""
    found = [(path, int(path.name.partition("-")[0])) for path in spill.glob("[0-9]*-*")]
    return [path for path, pid in found if pid == os.getpid() or not is_running(pid)]


@contextmanager
def _spilling(scratch: Path, n: int, max_memory: float) -> Iterator[tuple[Path, "duckdb.DuckDBPyConnection"]]:
    """Yield a new folder, which is removed afterwards, and a DuckDB that spills into it."""
    import duckdb

    spill = scratch / "spill"
    for left in spilled_by_killed(spill):
        shutil.rmtree(left, ignore_errors=True)
    spill.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=spill))
    limit = max(max_memory - _BESIDE_GB, max_memory / 3, _LEAST_GB)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{limit:.3f}GB",
        "temp_directory": str(folder / "duckdb"),
        "threads": max(1, min(os.cpu_count() or 1, int(limit / 0.25))),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    try:
        with duckdb.connect(config=config) as connection:
            yield folder, connection
    except (duckdb.OutOfMemoryException, duckdb.IOException, OSError) as error:
        text = str(error)
        if (
            "max_temp_directory_size" in text
            or "No space left" in text
            or getattr(error, "errno", 0) == errno.ENOSPC
        ):
            written, free = sum(_sizes(folder)) / 1e9, shutil.disk_usage(folder).free / 1e9
            raise UserError(
                f"{spill}: no room on the disk for the counts of {n}-grams: {written:.2f} GB are written and "
                f"{free:.2f} GB are free; free some space, or make {scratch} a link to a larger disk"
            ) from None
        if isinstance(error, duckdb.OutOfMemoryException):
            raise UserError(
                f"ngrams.max_memory: {max_memory:g} GB are too few for DuckDB to count {n}-grams; raise it"
            ) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process uses it
            spill.rmdir()


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            yield path.stat().st_size


def _write(connection: "duckdb.DuckDBPyConnection", partial: Partial, path: Path) -> None:
    columns = zip(("key", "count", "first"), partial, strict=True)
    connection.register("partial", pd.DataFrame(dict(columns), copy=False))
    connection.execute(f"COPY partial TO '{str(path).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
    connection.unregister("partial")


def _unpack(keys: NDArray[np.int64], n: int, vocab_size: int) -> NDArray[np.int64]:
    """Return the rows (num_rows, n) that `pack` makes these keys of."""
    ngrams = np.empty((len(keys), n), dtype=np.int64)
    for i in reversed(range(n)):
        keys, ngrams[:, i] = np.divmod(keys, vocab_size)
    return ngrams


def _remove_older(kept: Path, n: int, folder: Path) -> None:
    """Remove partial counts that were last needed before a folder was made, so that those of one text stay."""
    made = (folder / "between.parquet").stat().st_mtime_ns
    for path in kept.glob(f"{n}-*.safetensors"):
        with suppress(FileNotFoundError):  # another process removed it
            if path.stat().st_mtime_ns < made:
                path.unlink()
