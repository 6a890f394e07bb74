"""Seconds and memory of the stages that read a text, on English text of several sizes, and how they grow.

The text is made of the texts in data/raw/ and of the docstrings, comments and documentation files of the Python
environment, each line once. If these are too few, it goes on with random lines of them in which each seventh word
is another one. Each stage runs in its own process, through its function `run`, in a temporary folder. The
recurrent model is untrained: the time of a training depends on the recipe, and its minibatches are measured.

A row has the seconds and the peak of memory of a stage for each size, and the exponent by which the seconds grow
from the first to the last size.

Run: python benchmarks/scale.py [--sizes 1 10 100] [--folder FOLDER]
"""

import argparse
import hashlib
import math
import os
import random
import re
import runpy
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from timemachine.pipeline import stage

ROOT = stage.repository_root()

PROSE = re.compile(r"[A-Za-z][A-Za-z ,;:'\"()-]{25,}")
COMMENTS = re.compile(r'"""(.*?)"""|^\s*#\s?(.*)$', re.DOTALL | re.MULTILINE)
DOCUMENTS = (".py", ".rst", ".md", ".txt", ".html")
EACH = 7

STEPS = (
    "preprocess",
    "ngrams",
    "ngram_models",
    "minibatches",
    "evaluate_perplexity",
    "dynamic_evaluation",
    "context_mixing",
    "compare_models",
)
# Minutes and GB for a text of 100 MB: of all stages but context mixing, and of context mixing.
LIMITS, MIXING_LIMITS = (15, 8), (10, 4)


class Measured(NamedTuple):
    """Wall seconds and peak GB of a process."""

    seconds: float
    gigabytes: float


def prose() -> Iterator[str]:
    """Yield the lines of English that this machine has, each once."""
    seen = set[int]()
    paths = sysconfig.get_paths()
    folders = [ROOT / "data/raw", Path(paths["stdlib"]), Path(paths["purelib"])]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in DOCUMENTS or not path.is_file():
                continue
            text = path.read_text("ascii", errors="ignore")
            if path.suffix == ".py":
                text = "\n".join(string or comment for string, comment in COMMENTS.findall(text))
            for line in map(str.strip, text.splitlines()):
                if PROSE.search(line) and hash(line) not in seen:
                    seen.add(hash(line))
                    yield line


def write_text(path: Path, num_bytes: int) -> int:
    """Write at least so many bytes of English, and return how many of them repeat lines with changed words."""
    lines, written = list[str](), 0
    with path.open("w", encoding="ascii") as file:
        for line in prose():
            written += file.write(f"{line}\n")
            lines.append(line)
            if written >= num_bytes:
                return 0
        repeated, generator = num_bytes - written, random.Random(0)
        while written < num_bytes:
            words = generator.choice(lines).split()
            for i in range(generator.randrange(EACH), len(words), EACH):
                words[i] = generator.choice(generator.choice(lines).split())
            written += file.write(f"{' '.join(words)}\n")
        return repeated


def write_params(folder: Path, text: Path) -> None:
    """Write the params of the repository with one text, n-grams to order 6 and 4, and one small recipe."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    with text.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    content["texts"] = {"scale": {"sources": [text.name], "sha256": sha256}}
    for corpus in content["preprocess"]["corpora"].values():
        corpus["texts"] = ["scale"]
    content["ngram_models"]["corpora"] = {"whole": 6, "words": 4}
    recipe = {"corpus": "whole", "sampling": "sequential", "batch_size": 32, "num_steps": 64, "cell": "lstm"}
    sizes = {"embedding_dim": 32, "num_hiddens": 64, "num_epochs": 1, "lr": 0.01, "seed": 0}
    scratch = content["train_rnn"][content["bptt"]["model"]]
    content["train_rnn"] = {"untrained": recipe | sizes | {"implementation": "concise"}, "scratch": scratch}
    content["bptt"]["model"] = "scratch"
    content["dynamic_evaluation"]["models"] = ["untrained"]
    content["context_mixing_networks"] = {}
    mixture = {"mean": "arithmetic", "models": ["untrained", "kneser_ney_6"]}
    content["compare_models"] |= {"corpus": "whole", "mixtures": {"mixed": mixture}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def run_step(name: str, folder: Path) -> None:
    """Run one step in this process."""
    from timemachine.base import compute
    from timemachine.pipeline import params as parameters

    params = parameters.load(folder / "params.yaml")
    data, scores = folder / "data", folder / "data/scores"
    text, models, results = data / "text", data / "models", data / "results"
    arguments: dict[str, dict[str, Any]] = {
        "preprocess": {
            "raw": data / "raw",
            "accepted": data / "accepted",
            "out": text,
            "report": results / "text",
        },
        "ngrams": {
            "text": text,
            "out": data / "ngrams",
            "report": results / "ngrams",
            "figures": data / "figures",
        },
        "ngram_models": {"text": text, "scores": scores / "ngram", "figures": data / "figures"},
        "evaluate_perplexity": {"name": "untrained", "text": text, "models": models, "out": scores / "rnn"},
        "dynamic_evaluation": {"name": "untrained", "text": text, "models": models, "out": scores / "rnn"},
        "context_mixing": {"text": text, "out": scores / "context_mixing.safetensors"},
        "compare_models": {"text": text, "scores": scores, "nats": data / "nats", "report": results / "models"},
    }
    arguments["ngrams"]["scratch"] = folder / ".timemachine"
    arguments["ngram_models"]["report"] = results / "ngram_models"
    arguments["evaluate_perplexity"] |= {"generated": data / "generated", "report": results / "perplexity"}
    if name == "minibatches":
        compute.set_up(params.compute)
        read_minibatches(params, text)
        return
    run = runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="scale")["run"]
    compute.set_up(params.compute)
    run(params, **arguments[name])


def save_untrained(folder: Path) -> None:
    """Write a checkpoint of the recipe `untrained` with its initial weights."""
    import torch

    from timemachine.base.compute import environment
    from timemachine.language.models.build import build_language_model
    from timemachine.language.models.config import RnnConfig
    from timemachine.language.training.train import describe
    from timemachine.pipeline import params as parameters
    from timemachine.text.tokens.corpus import Corpus
    from timemachine.training.checkpoints import save_checkpoint

    recipe = parameters.load(folder / "params.yaml").train_rnn["untrained"]
    corpus = Corpus.load(folder / "data/text/whole")
    model = build_language_model(recipe, len(corpus.vocabulary), torch.Generator().manual_seed(0))
    config = RnnConfig(**describe(recipe, "untrained", corpus), epoch=1)
    here = environment(torch.device("cpu"))
    save_checkpoint(folder / "data/models/untrained", model, config, [{"epoch": 1}], here)


def read_minibatches(params: Any, text: Path) -> None:
    """Read all minibatches of an epoch of the recipe `untrained`."""
    import torch

    from timemachine.text.tokens.corpus import Corpus
    from timemachine.text.tokens.minibatches import sequential_partitioning

    recipe = params.train_rnn["untrained"]
    tokens = Corpus.load(text / recipe.corpus).part("train")
    small = "uint8" if tokens.itemsize == 1 else "int32"
    pairs = sequential_partitioning(
        torch.from_numpy(tokens.astype(small)), recipe.batch_size, recipe.num_steps, torch.Generator()
    )
    total = sum(X.numel() for X, _ in pairs)
    assert total > 0.9 * len(tokens) or len(tokens) < 100_000


def measure(name: str, folder: Path) -> Measured:
    """Return what a step takes in a process of its own."""
    environment = os.environ | {"TIMEMACHINE_DEBUG": "1"}
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{name}: exit code {process.returncode}\n{said.read()[-3000:]}")
    return Measured(time.perf_counter() - begin, usage.ru_maxrss * 1024 / 1e9)


def measure_size(size: float, source: Path, folder: Path) -> dict[str, Measured]:
    """Return what each step takes on the first `size` MB of a text."""
    text = folder / "data/raw/scale/scale.txt"
    text.parent.mkdir(parents=True)
    (folder / "data/accepted").mkdir()
    with source.open("rb") as file:
        text.write_bytes(file.read(int(size * 1e6)))
    write_params(folder, text)
    measured = {}
    for name in STEPS:
        if name == "minibatches":
            save_untrained(folder)
        measured[name] = measure(name, folder)
        print(f"{size:g} MB: {name}: {measured[name].seconds:.1f} s", file=sys.stderr, flush=True)
    return measured


def table(sizes: Sequence[float], columns: Sequence[dict[str, Measured]]) -> str:
    """Return the rows of all steps and their sums as a table."""
    heads = " | ".join(f"{size:g} MB: s | GB" for size in sizes)
    lines = [f"| stage | {heads} | exponent |", "|---" * (2 * len(sizes) + 2) + "|"]
    for name in STEPS:
        cells = " | ".join(f"{c[name].seconds:.1f} | {c[name].gigabytes:.2f}" for c in columns)
        growth = "–"
        if len(sizes) > 1:
            grown = math.log(columns[-1][name].seconds / columns[0][name].seconds)
            growth = f"{grown / math.log(sizes[-1] / sizes[0]):.2f}"
        lines.append(f"| {name} | {cells} | {growth} |")
    for size, column in zip(sizes, columns, strict=True):
        mixing = column["context_mixing"]
        others = [column[name] for name in STEPS if name != "context_mixing"]
        minutes, peak = sum(m.seconds for m in others) / 60, max(m.gigabytes for m in others)
        lines.append(
            f"{size:g} MB: {minutes:.1f} min and {peak:.1f} GB without context_mixing, which takes "
            f"{mixing.seconds / 60:.1f} min and {mixing.gigabytes:.1f} GB"
        )
    lines.append(
        f"limits at 100 MB: {LIMITS[0]} min and {LIMITS[1]} GB; "
        f"context_mixing {MIXING_LIMITS[0]} min and {MIXING_LIMITS[1]} GB; exponent 1.1"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 10, 100], help="MB of text, ascending")
    parser.add_argument("--folder", type=Path, help="where temporary folders are made")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.step, options.folder)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="scale") as folder:
        source = Path(folder) / "source.txt"
        repeated = write_text(source, int(max(options.sizes) * 1e6))
        print(f"text: {max(options.sizes):g} MB, of which {repeated / 1e6:.1f} MB repeat lines with changed words")
        columns = []
        for size in options.sizes:
            columns.append(measure_size(size, source, Path(folder) / f"{size:g}"))
        print(table(options.sizes, columns))


if __name__ == "__main__":
    main()
