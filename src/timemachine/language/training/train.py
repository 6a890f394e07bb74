"""Train the recurrent language model of a recipe."""

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from timemachine.base.errors import UserError
from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnRecipe, check_shared
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.minibatches import Minibatches, random_sampling, sequential_partitioning, windows
from timemachine.text.tokens.perplexity import perplexity
from timemachine.training import loop
from timemachine.training.data_parallel import ALONE, Ranks
from timemachine.training.devices import computing_in
from timemachine.training.resume import Resumable
from timemachine.training.state import State


def training_range(recipe: RnnRecipe, corpus: Corpus) -> tuple[int, int]:
    """Return first index, and one past the last, of the tokens that a recipe trains on.

    These are the whole train part, or with `num_train` the first tokens of the book, after added texts.

    Raises:
        UserError: the train part has fewer tokens than the recipe needs.
    """
    begin, end = corpus.split["train"]
    if recipe.num_train is not None:
        begin = corpus.num_added
        # The last of num_train windows at stride 1 reaches num_steps tokens further.
        needed = begin + recipe.num_train + (recipe.num_steps if recipe.sampling == "windows" else 0)
        if needed > end:
            found = f"{needed - begin} tokens are needed, the train part has {end - begin}"
            raise UserError(f"num_train: {recipe.num_train} is too many: {found}")
        end = needed
    return begin, end


def validation_range(recipe: RnnRecipe, corpus: Corpus) -> tuple[int, int]:
    """Return first index, and one past the last, of the tokens that are scored after every epoch.

    They follow the training tokens.

    Raises:
        UserError: they would reach into the test part, or are fewer than num_steps + 1.
    """
    _, begin = training_range(recipe, corpus)
    available = corpus.split["val"][1] - begin
    num_val = available if recipe.num_val is None else recipe.num_val
    if num_val and not recipe.num_steps < num_val <= available:
        raise UserError(f"num_val: {num_val} is not 0 or in num_steps + 1 ... {available}")
    return begin, begin + num_val


def describe(recipe: RnnRecipe, name: str, corpus: Corpus) -> dict[str, Any]:
    """Return the `config.json` of a recipe's checkpoint without `epoch`, which is known only after the training.

    Raises:
        UserError: the train part has fewer tokens than the recipe needs.
    """
    return {
        **recipe.model_dump(),
        "family": "rnn",
        "name": name,
        "train_range": list(training_range(recipe, corpus)),
        "data_sha256": corpus.sha256,
        "level": corpus.level,
        "vocab_size": len(corpus.vocabulary),
        "vocabulary_sha256": corpus.vocabulary.sha256,
    }


def cross_entropy(logits: Tensor, Y: Tensor) -> loop.Loss:
    """Return the cross-entropy: the mean over all tokens for the optimiser, the sum for the history.

    Args:
        logits: (batch, num_steps, vocab).
        Y: (batch, num_steps) indices.
    """
    total = F.cross_entropy(logits.flatten(0, 1), Y.flatten(), reduction="sum")
    return loop.Loss(total / Y.numel(), total.detach())


def train_language_model(
    recipe: RnnRecipe,
    corpus: Corpus,
    device: torch.device,
    callback: loop.Callback | None = None,
    resumable: Resumable | None = None,
    ranks: Ranks = ALONE,
) -> tuple[nn.Module, list[loop.Epoch]]:
    """Train the model of a recipe on a corpus.

    Args:
        recipe: an entry of `train_rnn`.
        corpus: the corpus `recipe.corpus`.
        device: device to train on.
        callback: called with each epoch when it ends.
        resumable: stores the state after each epoch, and holds the state of an interrupted training.
        ranks: the processes that share the rows of each minibatch.

    Returns:
        The model, and its history: `loss` in nats per token, and `val_nats` if the recipe has a validation part.

    Raises:
        UserError: there are too few tokens, the loss is not finite, or the processes cannot share the rows.
    """
    check_shared(recipe.batch_size, ranks.size)
    begin, end = training_range(recipe, corpus)
    val_begin, val_end = validation_range(recipe, corpus)
    # Weights and minibatches have separate generators, so that a change of one does not change the other.
    seeds = torch.randint(2**62, (2,), generator=Generator().manual_seed(recipe.seed)).tolist()
    weights, order = (Generator().manual_seed(seed) for seed in seeds)
    # On the CPU one generator draws the initial weights and then the dropout masks.
    masks = weights if device.type == "cpu" else Generator(device).manual_seed(seeds[0])
    model = build_language_model(recipe, len(corpus.vocabulary), weights, masks, ranks).to(device)
    small = "uint8" if len(corpus.vocabulary) <= 256 else "int32"  # torch cannot index other unsigned types
    tokens = torch.from_numpy(corpus.tokens[begin:val_end].astype(small)).to(device)
    train, val = tokens[: end - begin], tokens[val_begin - begin :]

    def minibatches() -> Minibatches:
        sample = {"sequential": sequential_partitioning, "random": random_sampling, "windows": windows}
        return sample[recipe.sampling](train, recipe.batch_size, recipe.num_steps, order)

    flow: loop.StateFlow = "fresh"
    if recipe.sampling == "sequential":
        flow = "detached" if recipe.detach else "attached"
    with computing_in(recipe.precision, device):
        history = loop.fit(
            model,
            minibatches,
            cross_entropy,
            loop.make_optimizer(recipe.optimizer, model.parameters(), recipe.lr, recipe.weight_decay),
            recipe.num_epochs,
            state_flow=flow,
            schedule=loop.constant if recipe.warmup is None else loop.warmup_cosine(recipe.warmup),
            clip_norm=recipe.clip_norm,
            evaluate=(lambda: {"val_nats": validation_nats(model, val, recipe, ranks)}) if len(val) else None,
            early_stopping=loop.EarlyStopping("val_nats", recipe.patience) if recipe.patience else None,
            callback=callback,
            generators={"masks": masks, "order": order},
            resumable=resumable,
            ranks=ranks,
        )
    return model, history


@torch.inference_mode()
def validation_nats(model: nn.Module, tokens: Tensor, recipe: RnnRecipe, ranks: Ranks = ALONE) -> float:
    """Return nats per token, read as in training: with carried state for `sequential`, else in separate windows.

    Each token but the first is scored at most once: windows do not overlap, and tokens that do not fill a window
    or a row are left out. Several processes score their rows each, and return the same number.
    """
    model.eval()
    carried = recipe.sampling == "sequential"
    batch_size = min(recipe.batch_size, (len(tokens) - 1) // recipe.num_steps)
    if carried:
        pairs = sequential_partitioning(tokens, batch_size, recipe.num_steps, None)
    else:
        pairs = windows(tokens, batch_size, recipe.num_steps, None, stride=recipe.num_steps)
    state: State = None
    total, count = torch.zeros((), dtype=torch.float64, device=tokens.device), 0
    for X, Y in pairs:
        count += Y.numel()
        own = ranks.share(len(X))
        if own.stop > own.start:
            logits, state = model(X[own], state if carried else None)
            total += cross_entropy(logits, Y[own]).total
    return float(ranks.summed(total)) / count


def history_rows(history: list[loop.Epoch]) -> list[dict[str, float]]:
    """Return the history of a language model as the rows of `history.csv`; perplexity is exp(nats per token)."""
    rows: list[dict[str, float]] = []
    for e in history:
        rows.append({"epoch": e.epoch, "tokens": e.num_labels, "nats": e.loss, "perplexity": perplexity(e.loss)})
        if e.metrics:
            rows[-1] |= e.metrics | {"val_perplexity": perplexity(e.metrics["val_nats"])}
    return rows
