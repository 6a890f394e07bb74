"""CPU time and memory of context mixing on one thread: compilation, reading the corpus, writing text.

The stage is run in processes of their own, once with an empty cache of machine code and then `--rounds` times with
it. Prints the medians.

Run: python benchmarks/context_mixing.py [FOLDER] [--text FILE] [--rounds N]
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timemachine.language.ngrams.config import ContextMixingParams
from timemachine.language.ngrams.reading import read_context_mixing
from timemachine.pipeline import stage
from timemachine.text.preparation.config import CorpusRecipe
from timemachine.text.preparation.prepare import Piece, build_corpus
from timemachine.text.tokens.corpus import Corpus

NUM_WRITTEN = 1000
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def one_process(folder: Path, task: str) -> dict[str, float]:
    """Do a task, and return its figures, the CPU seconds of this process, and its peak memory in MB."""
    if task == "read":
        readings = read_context_mixing(Corpus.load(folder), ContextMixingParams())
        found = {part: float(readings[part].mean()) / math.log(2) for part in ("val", "test")}
    else:
        # Imported here: reading needs no torch.
        from timemachine.language.generation.decoding import continue_texts
        from timemachine.language.ngrams.writer import count_corpus

        model, tokenizer = count_corpus(folder, ContextMixingParams())
        start = time.process_time()
        continue_texts(model, tokenizer, ["time traveller"], [NUM_WRITTEN])
        found = {"characters_per_s": NUM_WRITTEN / (time.process_time() - start)}
    return found | {
        "cpu_s": time.process_time(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def main() -> None:
    """Run the tasks in processes of their own and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/text/whole"), help="of a corpus")
    parser.add_argument("--text", type=Path, help="a raw text instead, cleaned and split as the corpus `whole` is")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(one_process(options.folder, options.task)))
        return
    with tempfile.TemporaryDirectory() as cache:
        folder = options.folder
        if options.text:
            folder = Path(cache) / "corpus"
            recipe = CorpusRecipe(texts=["text"], cleaning="whole", level="char", order="sorted")
            knobs = recipe.model_dump(exclude={"texts"})
            build_corpus([Piece(options.text)], **knobs, fractions=(0.8, 0.1, 0.1)).save(folder)

        def run(task: str) -> dict[str, float]:
            command = [sys.executable, __file__, str(folder), "--task", task]
            environment = os.environ | THREADS | {"NUMBA_CACHE_DIR": cache}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            found: dict[str, float] = json.loads(done.stdout)
            return found

        cold = run("read")
        warm = [run("read") for _ in range(options.rounds)]
        written = [run("write") for _ in range(options.rounds)]
    cpu_s, peak = (statistics.median(row[key] for row in warm) for key in ("cpu_s", "peak_mb"))
    print(f"bits per character: val {cold['val']:.4f}, test {cold['test']:.4f}")
    print(f"CPU seconds: {cold['cpu_s']:.1f} with compilation, {cpu_s:.1f} without; peak memory {peak:.0f} MB")
    print(f"characters written per CPU second: {statistics.median(r['characters_per_s'] for r in written):.0f}")


if __name__ == "__main__":
    with stage.one_line_errors("context_mixing"):
        main()
