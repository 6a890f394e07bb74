"""Training and generation on a GPU: speed, losses beside the CPU's, memory, launches and kernels of a minibatch.

The sides of a comparison run in one process, in turn, and medians over the rounds are printed:

- book: the eager loop of the book, as in benchmarks/training.py;
- operations: the loop of the pipeline, with the operations of a minibatch launched one by one;
- graph: the loop of the pipeline as it is, in each precision.

Then it trains all recipes of params.yaml from beginning to end, and scores the champion. It needs torch 2.11 or
newer, numpy, pydantic, PyYAML, safetensors and threadpoolctl, but neither DVC nor MLflow. Without the text it
makes one of random words.

Run: PYTHONPATH=src python benchmarks/gpu.py [--device auto|cpu|cuda] [--parts NAME ...] [--rounds N] [--text FILE]
    [--out FILE] [--quick]
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import string
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.profiler import ProfilerActivity, profile

from timemachine.base import compute
from timemachine.base.config import Precision
from timemachine.base.files import write_json
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.training.train import train_autoregressive
from timemachine.gradients.study import study_gradients
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import GREEDY, continue_sequences
from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnRecipe
from timemachine.language.scoring.dynamic import read_and_learn
from timemachine.language.scoring.reading import read_parts, score_report
from timemachine.language.scoring.score import held_out_readings, score
from timemachine.language.training.train import cross_entropy, train_language_model
from timemachine.pipeline import params
from timemachine.text.preparation.prepare import build_corpus
from timemachine.text.tokens.corpus import HELD_OUT, Corpus
from timemachine.text.tokens.minibatches import sequential_partitioning
from timemachine.training import loop
from timemachine.training.devices import choose_device, computing_in
from timemachine.training.graphs import Captured
from timemachine.training.state import detach

BOOK = import_module("training")  # benchmarks/training.py
TEXTS = ("data/raw/timemachine/timemachine.txt", "../shared/data/timemachine.txt")
# The recipes whose speed is compared, and the minibatches of an epoch.
COMPARED = {"e1_scratch_sequential": 8, "e1_concise_sequential": 8, "lstm": 40}
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
NUM_FIRST = 20  # minibatches whose losses are compared with the CPU's
ROWS, NUM_PREDS = 64, 200
# The first epochs set up and capture; the last ones are measured, and one between them is profiled.
NUM_EPOCHS, PROFILED, NUM_MEASURED = 9, 4, 4


@dataclass(frozen=True)
class Bench:
    """What every part needs.

    Attributes:
        device: device that is measured.
        params: all of params.yaml.
        corpora: by name.
        rounds: of a comparison.
        quick: take small networks and few epochs, to test this script.
    """

    device: torch.device
    params: params.Params
    corpora: dict[str, Corpus]
    rounds: int
    quick: bool

    @property
    def precisions(self) -> Sequence[Precision]:
        """Those of the device."""
        return PRECISIONS if self.device.type == "cuda" else PRECISIONS[:1]

    def recipe(self, name: str, **changes: Any) -> RnnRecipe:
        """Return an entry of `train_rnn` with changes."""
        small = {"num_hiddens": 16, "num_epochs": 2, "num_train": 3000, "num_val": 2000} if self.quick else {}
        return self.params.train_rnn[name].model_copy(update=small | changes)

    def model(self, recipe: RnnRecipe, device: torch.device, masks: Generator | None = None) -> nn.Module:
        """Return the network of a recipe with the initial weights of its seed."""
        vocab_size = len(self.corpora[recipe.corpus].vocabulary)
        return build_language_model(recipe, vocab_size, Generator().manual_seed(recipe.seed), masks).to(device)

    def tokens(self, recipe: RnnRecipe, num_minibatches: int, device: torch.device) -> Tensor:
        """Return the first tokens of the corpus of a recipe, enough for so many minibatches."""
        num_tokens = num_minibatches * recipe.batch_size * recipe.num_steps + 1
        return torch.from_numpy(self.corpora[recipe.corpus].tokens[:num_tokens].astype("int64")).to(device)

    def wait(self) -> float:
        """Wait for the GPU, and return the time."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def machine(bench: Bench, result: dict[str, Any]) -> None:
    """Return the kind of machine, the card and its driver."""
    result |= {"environment": compute.environment(bench.device), "cores": os.cpu_count()}
    if bench.device.type == "cuda":
        command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        result["nvidia_smi"] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        result |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    print(f"    {json.dumps(result)}", flush=True)


class Profile:
    """What a GPU does in one epoch, from torch's profiler; nothing without a GPU."""

    def __init__(self, bench: Bench, num_minibatches: int) -> None:
        self.per_minibatch: dict[str, float] = {}
        self._bench, self._num_minibatches = bench, num_minibatches
        self._profiler: Any = None

    def after(self, epoch: int) -> None:
        """Begin or end the profile, between epochs."""
        if self._bench.device.type != "cuda":
            return
        if epoch == PROFILED:
            self._bench.wait()
            self._profiler = profile(activities=[ProfilerActivity.CUDA], acc_events=True)
            self._profiler.start()
        elif epoch == PROFILED + 1:
            self._bench.wait()
            self._profiler.stop()
            self.per_minibatch = self._read()

    def _read(self) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._profiler.export_chrome_trace(str(path))
            events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
        kinds = Counter[str]()
        for event in events:
            category = event.get("cat")
            if category in ("cuda_runtime", "cuda_driver") and "Launch" in event["name"]:
                kinds["launches"] += 1
            elif category == "kernel":
                kinds["kernels"] += 1
                kinds["busy_us"] += event["dur"]
        return {kind: kinds[kind] / self._num_minibatches for kind in ("launches", "kernels", "busy_us")}


Side = Callable[[], tuple[list[float], Profile]]


def book(bench: Bench, recipe: RnnRecipe, num_minibatches: int) -> tuple[list[float], Profile]:
    """Train with the loop of the book; return the seconds of each epoch, and the profile of one."""
    network = BOOK.PlainScratch if recipe.implementation == "scratch" else BOOK.PlainConcise
    model, tokens = (
        network(recipe.num_hiddens).to(bench.device),
        bench.tokens(recipe, num_minibatches, bench.device),
    )
    profiled, seconds = Profile(bench, num_minibatches), []
    for number in range(1, NUM_EPOCHS + 1):
        begin = bench.wait()
        BOOK.plain_epoch(model, tokens)
        seconds.append(bench.wait() - begin)
        profiled.after(number)
    return seconds, profiled


def ours(
    bench: Bench, recipe: RnnRecipe, num_minibatches: int, precision: Precision, in_graph: bool
) -> tuple[list[float], Profile]:
    """Train with the loop of the pipeline; return the seconds of each epoch, and the profile of one."""
    masks = Generator(bench.device).manual_seed(0)
    model, tokens = bench.model(recipe, bench.device, masks), bench.tokens(recipe, num_minibatches, bench.device)
    profiled = Profile(bench, num_minibatches)
    with (
        computing_in(precision, bench.device),
        patch.object(loop, "Captured", Captured if in_graph else lambda step, *_: step),
    ):
        history = loop.fit(
            model,
            lambda: sequential_partitioning(tokens, recipe.batch_size, recipe.num_steps, None),
            cross_entropy,
            loop.make_optimizer(recipe.optimizer, model.parameters(), recipe.lr, recipe.weight_decay),
            NUM_EPOCHS,
            state_flow="detached",
            schedule=loop.constant if recipe.warmup is None else loop.warmup_cosine(recipe.warmup),
            clip_norm=recipe.clip_norm,
            callback=lambda epoch: profiled.after(epoch.epoch),
            generators={"masks": masks},
        )
    return [epoch.seconds for epoch in history], profiled


def speed(bench: Bench, result: dict[str, Any]) -> None:
    """Tokens per second of each side for each compared recipe, launches and kernels per minibatch, and memory."""
    for name, num_minibatches in COMPARED.items():
        recipe = bench.recipe(name)
        num_minibatches = 2 if bench.quick else num_minibatches
        arguments = (bench, recipe, num_minibatches)
        sides: dict[str, Side] = {"operations": partial(ours, *arguments, "float32", False)}
        if recipe.cell == "rnn":
            sides = {"book": partial(book, *arguments)} | sides
        for precision in bench.precisions:
            sides[f"graph, {precision}"] = partial(ours, *arguments, precision, True)
        if recipe.weight_dropout:
            whole = recipe.model_copy(update={"weight_dropout": 0.0})
            sides["graph, float32, no weight dropout"] = partial(
                ours, bench, whole, *arguments[2:], "float32", True
            )
        rates: dict[str, list[float]] = {side: [] for side in sides}
        result[name] = {side: {} for side in sides}
        for _ in range(bench.rounds):
            for side, train in sides.items():
                with peak_memory(bench, result[name][side]):
                    seconds, profiled = train()
                num_tokens = num_minibatches * recipe.batch_size * recipe.num_steps
                rates[side].append(num_tokens / statistics.median(seconds[-NUM_MEASURED:]))
                result[name][side] |= profiled.per_minibatch
        first = statistics.median(next(iter(rates.values())))
        for side, measured in rates.items():
            median = statistics.median(measured)
            figures = {"tokens_per_s": median, "least": min(measured), "greatest": max(measured)}
            result[name][side] |= figures | {"ratio": median / first}
            known = result[name][side]
            counted = [f"{known[key]:.0f} {key}" for key in ("launches", "kernels", "busy_us") if key in known]
            print(
                f"    {name}: {side}: {median:,.0f} tokens/s, ratio {median / first:.2f}; per minibatch "
                f"{', '.join(counted) or 'nothing counted'}; peak {known['peak_bytes'] / 1e6:.0f} MB",
                flush=True,
            )


@contextmanager
def peak_memory(bench: Bench, result: dict[str, Any]) -> Iterator[None]:
    """Note the most bytes of the GPU that tensors and graphs held while the block ran; 0 without a GPU."""
    on_gpu = bench.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
    yield
    result["peak_bytes"] = torch.cuda.max_memory_reserved(bench.device) if on_gpu else 0


def losses(bench: Bench, result: dict[str, Any]) -> None:
    """Losses of the first minibatches without dropout, on the CPU and in each precision, in nats per token."""
    for name in COMPARED:
        recipe = bench.recipe(name, weight_dropout=0.0, dropout=0.0)
        found = {"cpu": first_losses(bench, recipe, torch.device("cpu"), "float32")}
        for precision in bench.precisions:
            found[precision] = first_losses(bench, recipe, bench.device, precision)
        differences = {
            side: max(map(abs, np.subtract(some, found["cpu"]).tolist())) for side, some in found.items()
        }
        result[name] = {"losses": found, "largest_difference": differences}
        print(f"    {name}: largest difference from the CPU: {differences}", flush=True)


def first_losses(bench: Bench, recipe: RnnRecipe, device: torch.device, precision: Precision) -> list[float]:
    """Return the losses of the first minibatches of a training with a constant learning rate."""
    model, tokens = bench.model(recipe, device).train(), bench.tokens(recipe, NUM_FIRST, device)
    optimizer = loop.make_optimizer(recipe.optimizer, model.parameters(), recipe.lr / 10, recipe.weight_decay)
    step: Any = loop.Step(model, cross_entropy, optimizer, recipe.clip_norm)
    step = Captured(step, device) if device.type == "cuda" else step
    state, found = None, []
    with computing_in(precision, device):
        for X, Y in sequential_partitioning(tokens, recipe.batch_size, recipe.num_steps, None):
            total, state = step(X, Y, detach(state))
            found.append(float(total) / Y.numel())
    return found


def generation(bench: Bench, result: dict[str, Any]) -> None:
    """Characters per second of 64 rows on the CPU and on the device, and whether both write the same text."""
    recipe = bench.recipe("lstm")
    models = {"cpu": bench.model(recipe, torch.device("cpu")), "device": bench.model(recipe, bench.device)}
    num_preds = 20 if bench.quick else NUM_PREDS
    vocab_size = len(bench.corpora[recipe.corpus].vocabulary)
    prefixes = torch.randint(vocab_size, (ROWS, 14), generator=Generator().manual_seed(0)).tolist()
    for name, sampling in {
        "greedy": GREEDY,
        "sampled": Sampling(),
        "top-k, nucleus": Sampling(alpha=1.2, top_k=10, top_p=0.9),
    }.items():
        seconds: dict[str, list[float]] = {side: [] for side in models}
        texts = {}
        for _ in range(bench.rounds + 1):  # the first round is a warm-up
            for side, model in models.items():
                begin, generator = bench.wait(), Generator().manual_seed(0)
                texts[side] = continue_sequences(model, prefixes, num_preds, sampling, generator)
                seconds[side].append(bench.wait() - begin)
        rates = {side: ROWS * num_preds / statistics.median(s[1:]) for side, s in seconds.items()}
        same = statistics.mean(a == b for a, b in zip(texts["cpu"], texts["device"], strict=True))
        result[name] = {"characters_per_s": rates, "same_rows": same}
        shown = ", ".join(f"{side} {rate:,.0f}" for side, rate in rates.items())
        print(f"    {name}: {shown} characters/s, {same:.0%} of the rows have the CPU's text", flush=True)


def pipeline(bench: Bench, result: dict[str, Any]) -> None:
    """Train all recipes from beginning to end, and score the champion; the reports of the CPU stand beside."""
    s = bench.params.series
    x = noisy_sine(s.num_points, s.frequency, s.noise_std, s.seed).x
    on_cpu = {name: report(name) for name in ("training", "perplexity", "bptt")}
    for name, ar_recipe in bench.params.train_ar.items():
        begin = bench.wait()
        _, history = train_autoregressive(ar_recipe, x, bench.device)
        result[f"train_ar.{name}"] = {"s": bench.wait() - begin, **history[-1].metrics}
        print(f"    train_ar.{name}: {result[f'train_ar.{name}']}", flush=True)
    recipes = {name: bench.recipe(name) for name in bench.params.train_rnn}
    recipes |= {f"lstm, {p}": bench.recipe("lstm", precision=p) for p in bench.precisions[1:]}
    recipes |= {"lstm, seed 1": bench.recipe("lstm", seed=1), "gru": bench.recipe("lstm", cell="gru")}
    models = {}
    for name, recipe in recipes.items():
        memory: dict[str, Any] = {}
        with peak_memory(bench, memory):
            begin = bench.wait()
            models[name], history = train_language_model(recipe, bench.corpora[recipe.corpus], bench.device)
            kept = min(history, key=lambda e: e.metrics["val_nats"]) if recipe.patience else history[-1]
            found = {"s": bench.wait() - begin, "epochs": len(history), "nats": kept.loss, **kept.metrics}
        result[f"train_rnn.{name}"] = found | memory | {"on_cpu": on_cpu["training"].get(name)}
        if name in bench.params.train_rnn:
            again, _ = train_language_model(recipe, bench.corpora[recipe.corpus], bench.device)
            result[f"train_rnn.{name}"]["same_bytes_twice"] = all(
                torch.equal(W, V) for W, V in zip(models[name].parameters(), again.parameters(), strict=True)
            )
        print(f"    train_rnn.{name}: {result[f'train_rnn.{name}']}", flush=True)
    entries = [f"train_ar.{name}" for name in bench.params.train_ar]
    entries += [f"train_rnn.{name}" for name in bench.params.train_rnn]
    result["all_recipes_of_params_yaml_s"] = sum(result[entry]["s"] for entry in entries)
    print(f"    all recipes of params.yaml: {result['all_recipes_of_params_yaml_s']:.1f} s", flush=True)
    use(bench, models, on_cpu, result)


def use(bench: Bench, models: dict[str, nn.Module], on_cpu: dict[str, Any], result: dict[str, Any]) -> None:
    """Score the champion, adapt it by dynamic evaluation, and study gradients, each on the device."""
    p, corpus, lstm = bench.params, bench.corpora["whole"], models["lstm"].eval()
    begin = bench.wait()
    scored = p.evaluate_perplexity
    readings = read_parts(lstm, corpus, corpus.split["train"], scored.num_warmup, scored.num_streams)
    scores = score_report(readings, corpus, corpus.split["train"])["scores"]
    bits = {part: scores[part]["bits_per_character"] for part in ("train", *HELD_OUT)}
    of_cpu = {
        part: numbers["bits_per_character"] for part, numbers in on_cpu["perplexity"].get("lstm", {}).items()
    }
    result["scoring"] = {"s": bench.wait() - begin, "bits_per_character": bits, "on_cpu": of_cpu}
    print(f"    scoring of lstm: {result['scoring']}", flush=True)

    begin, dynamic = bench.wait(), p.dynamic_evaluation
    first = corpus.split["val"][0]
    num_before = min(dynamic.num_rms + scored.num_warmup, first)
    tokens = torch.from_numpy(corpus.tokens[first - num_before :].astype("int64")).to(bench.device)
    num_rms = min(dynamic.num_rms, num_before - 2)
    log_P = read_and_learn(lstm, tokens, num_rms, num_before, dynamic.num_steps, dynamic.lr)
    [held_out] = held_out_readings([log_P[:, None]], corpus)
    bits = {
        part: score(float(held_out[part].sum()), corpus.part(part), corpus)["bits_per_character"]
        for part in HELD_OUT
    }
    result["dynamic_evaluation"] = {"s": bench.wait() - begin, "bits_per_character": bits}
    print(f"    dynamic evaluation of lstm: {result['dynamic_evaluation']}", flush=True)

    begin, model = bench.wait(), models[p.bptt.model]
    small = (
        {"num_draws": 20, "training": p.bptt.training.model_copy(update={"num_epochs": 2})} if bench.quick else {}
    )
    study = p.bptt.model_copy(update=small)
    found, _ = study_gradients(study, bench.corpora[study.corpus], model, (0, 10_000))  # type: ignore[arg-type]
    result["bptt"] = {"s": bench.wait() - begin, "training": found["training"]}
    result["bptt"]["on_cpu"] = on_cpu["bptt"].get("training")
    print(f"    study of gradients: {result['bptt']}", flush=True)


def report(name: str) -> dict[str, Any]:
    """Return a report of the pipeline on the CPU, which git holds; nothing if it is absent."""
    path = Path(f"data/reports/{name}.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_text(path: Path | None) -> str:
    """Return the text of a file or, without one, of the first of `TEXTS` that exists, or else random words."""
    for candidate in [path] if path else map(Path, TEXTS):
        if candidate.exists():
            return candidate.read_text(encoding="utf-8")
    draw = random.Random(0)  # a book of the same size
    words = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(1, 9))) for _ in range(3000)]
    return "\n".join(" ".join(draw.choices(words, k=10)) for _ in range(3200))


PARTS: dict[str, Callable[[Bench, dict[str, Any]], None]] = {
    "machine": machine,
    "losses": losses,
    "speed": speed,
    "generation": generation,
    "pipeline": pipeline,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, and write their results as JSON after each; a part that fails shows its traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--quick", action="store_true", help="small networks and few epochs, to test this script")
    options = parser.parse_args(arguments)
    checked = params.load()
    compute.set_up(checked.compute)
    split, text = checked.preprocess.split, read_text(options.text)
    fractions = (split.train, split.val, split.test)
    corpora = {
        name: build_corpus(text, fractions=fractions, **recipe.model_dump(exclude={"texts"}))
        for name, recipe in checked.preprocess.corpora.items()
    }
    rounds = 1 if options.quick else options.rounds
    bench = Bench(choose_device(options.device), checked, corpora, rounds, options.quick)
    results: dict[str, Any] = {"text_sha256": hashlib.sha256(text.encode()).hexdigest(), "rounds": rounds}
    failed = []
    for name in options.parts:
        begin = time.perf_counter()
        print(f"{name}:", flush=True)
        results[name] = {}
        try:
            PARTS[name](bench, results[name])
        except Exception as error:
            traceback.print_exc()
            results[name]["error"] = f"{type(error).__name__}: {error}"
            failed.append(name)
        results[name]["part_s"] = time.perf_counter() - begin
        print(f"    ({results[name]['part_s']:.1f} s)", flush=True)
        write_json(options.out, results)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
