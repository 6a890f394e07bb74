"""Continue a prefix."""

import torch
from torch import nn

from timemachine.models.state import State
from timemachine.text.corpus import Corpus


@torch.inference_mode()
def generate(model: nn.Module, corpus: Corpus, prefix: str, num_preds: int) -> str:
    """Return the prefix and `num_preds` tokens after it: warm up over the prefix, then feed each argmax back.

    Characters or words of the prefix that the vocabulary does not have are read as `<unk>`.

    Args:
        model: a language model on the CPU.
        corpus: gives the vocabulary and its level.
        prefix: at least one token.
        num_preds: tokens to generate.

    Raises:
        ValueError: the prefix holds no token.
    """
    indices = corpus.encode(prefix)
    if not indices:
        raise ValueError(f"the prefix {prefix!r} holds no token")
    model.eval()
    X = torch.tensor([indices])
    state: State = None
    for _ in range(num_preds):
        logits, state = model(X, state)
        X = logits[:, -1:].argmax(-1)
        indices.append(int(X))
    return corpus.decode(indices)
