"""Train a recurrent language model by a recipe."""

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from timemachine.base.errors import UserError
from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.history import perplexity
from timemachine.text.corpus import Corpus
from timemachine.text.minibatches import Minibatches, random_sampling, sequential_partitioning, windows
from timemachine.training.loop import (
    Callback,
    EarlyStopping,
    Epoch,
    Loss,
    StateFlow,
    constant,
    fit,
    make_optimizer,
    warmup_cosine,
)
from timemachine.training.resume import Resumable
from timemachine.training.state import State


def training_range(recipe: RnnRecipe, corpus: Corpus) -> tuple[int, int]:
    """Return where the tokens a recipe trains on begin and end.

    All of the train part, or with `num_train` the first of the book's own tokens.

    Raises:
        UserError: the train part has fewer tokens than the recipe wants.
    """
    begin, end = corpus.split["train"]
    if recipe.num_train is not None:
        begin = corpus.num_added
        # The last of num_train windows at stride 1 reaches num_steps tokens further.
        wanted = begin + recipe.num_train + (recipe.num_steps if recipe.sampling == "windows" else 0)
        if wanted > end:
            found = f"{wanted - begin} tokens are wanted, the train part has {end - begin}"
            raise UserError(f"num_train: {recipe.num_train} is too many: {found}")
        end = wanted
    return begin, end


def validation_range(recipe: RnnRecipe, corpus: Corpus) -> tuple[int, int]:
    """Return where the tokens that follow the training tokens and are scored every epoch begin and end.

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
    """Return the config of a recipe's checkpoint, as far as it is known before the training.

    Raises:
        UserError: the train part has fewer tokens than the recipe wants.
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


def cross_entropy(logits: Tensor, Y: Tensor) -> Loss:
    """Return the cross-entropy, meant over all tokens for the optimizer and summed for the history.

    Args:
        logits: (batch, num_steps, vocab).
        Y: (batch, num_steps) indices.
    """
    total = F.cross_entropy(logits.flatten(0, 1), Y.flatten(), reduction="sum")
    return Loss(total / Y.numel(), total.detach())


def train_language_model(
    recipe: RnnRecipe,
    corpus: Corpus,
    device: torch.device,
    callback: Callback | None = None,
    resumable: Resumable | None = None,
) -> tuple[nn.Module, list[Epoch]]:
    """Train the model that a recipe describes on the first tokens of a corpus.

    Args:
        recipe: an entry of `train_rnn`.
        corpus: what `recipe.corpus` names.
        device: where to train.
        callback: takes each epoch as it ends.
        resumable: takes the state after each epoch, and has that of an interrupted training.

    Returns:
        The model, and its history: `loss` in nats per token, `val_nats` if the recipe has a validation part.

    Raises:
        UserError: too few tokens, or a loss that is not finite.
    """
    begin, end = training_range(recipe, corpus)
    val_begin, val_end = validation_range(recipe, corpus)
    # Weights and minibatches draw from generators of their own: neither shifts when the other changes.
    weights, order = (Generator().manual_seed(seed) for seed in _two_seeds(recipe.seed))
    model = build_language_model(recipe, len(corpus.vocabulary), weights).to(device)
    tokens = torch.from_numpy(corpus.tokens[begin:val_end].astype("int64")).to(device)
    train, val = tokens[: end - begin], tokens[val_begin - begin :]

    def minibatches() -> Minibatches:
        sample = {"sequential": sequential_partitioning, "random": random_sampling, "windows": windows}
        return sample[recipe.sampling](train, recipe.batch_size, recipe.num_steps, order)

    def validate() -> dict[str, float]:
        return {"val_nats": validation_nats(model, val, recipe)}

    flow: StateFlow = "fresh"
    if recipe.sampling == "sequential":
        flow = "detached" if recipe.detach else "attached"
    history = fit(
        model,
        minibatches,
        cross_entropy,
        make_optimizer(recipe.optimizer, model.parameters(), recipe.lr, recipe.weight_decay),
        recipe.num_epochs,
        state_flow=flow,
        schedule=constant if recipe.warmup is None else warmup_cosine(recipe.warmup),
        clip_norm=recipe.clip_norm,
        evaluate=validate if val_begin < val_end else None,
        early_stopping=EarlyStopping("val_nats", recipe.patience) if recipe.patience else None,
        callback=callback,
        generators={"weights": weights, "order": order},
        resumable=resumable,
    )
    return model, history


@torch.inference_mode()
def validation_nats(model: nn.Module, tokens: Tensor, recipe: RnnRecipe) -> float:
    """Return nats per token as the recipe trains: carried state for `sequential`, fresh windows otherwise.

    Every token but the first is scored at most once: windows do not overlap, and what does not fill a
    window, or a row, is left out.
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
        logits, state = model(X, state if carried else None)
        total += cross_entropy(logits, Y).total
        count += Y.numel()
    return float(total) / count


def history_rows(history: list[Epoch]) -> list[dict[str, float]]:
    """Return a language model's history as the rows of `history.csv`: perplexity is exp(nats per token)."""
    rows = []
    for epoch in history:
        row = {
            "epoch": epoch.epoch,
            "tokens": epoch.num_labels,
            "nats": epoch.loss,
            "perplexity": perplexity(epoch.loss),
        }
        if "val_nats" in epoch.metrics:
            row |= epoch.metrics | {"val_perplexity": perplexity(epoch.metrics["val_nats"])}
        rows.append(row)
    return rows


def _two_seeds(seed: int) -> tuple[int, int]:
    generator = Generator().manual_seed(seed)
    first, second = torch.randint(2**62, (2,), generator=generator).tolist()
    return first, second
