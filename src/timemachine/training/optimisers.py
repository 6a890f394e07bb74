"""SGD, Adam and AdamW, as torch's but for the second and a half that importing those costs every stage."""

from collections.abc import Callable, Iterable, Mapping
from typing import cast

import torch
from torch import Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


def gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients of parameters, which all must have one."""
    grads = [p.grad for p in parameters]
    assert all(grad is not None for grad in grads), "backward() comes first"
    return cast(list[Tensor], grads)


class SGD:
    """Stochastic gradient descent: w ← w − lr g.

    Args:
        parameters: updated in place; all must have gradients.
        lr: learning rate; may be changed between steps.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = lr

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their gradients."""
        torch._foreach_add_(self.parameters, gradients(self.parameters), alpha=-self.lr)

    def state(self) -> dict[str, Tensor]:
        """Return what it remembers between steps: nothing."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""


class Adam:
    """Adam, and with decoupled weight decay AdamW: w ← (1 − lr λ) w − lr m̂ / (√v̂ + 10⁻⁸).

    m and v are the running means of g (β = 0.9) and of g² (β = 0.999), m̂ and v̂ the same without their bias
    towards zero. Source: Kingma and Ba, 2015; Loshchilov and Hutter, 2019.

    Args:
        parameters: updated in place; all must have gradients.
        lr: learning rate; may be changed between steps.
        weight_decay: λ.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.num_steps = 0
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their gradients."""
        grads = gradients(self.parameters)
        self.num_steps += 1
        (beta_1, beta_2), t = _BETAS, self.num_steps
        if self.weight_decay:
            torch._foreach_mul_(self.parameters, 1 - self.lr * self.weight_decay)
        torch._foreach_lerp_(self.means, grads, 1 - beta_1)
        torch._foreach_mul_(self.squares, beta_2)
        torch._foreach_addcmul_(self.squares, grads, grads, value=1 - beta_2)
        sizes = torch._foreach_sqrt(self.squares)
        torch._foreach_div_(sizes, (1 - beta_2**t) ** 0.5)
        torch._foreach_add_(sizes, _EPSILON)
        torch._foreach_addcdiv_(self.parameters, self.means, sizes, value=-self.lr / (1 - beta_1**t))

    def state(self) -> dict[str, Tensor]:
        """Return what it remembers between steps: how many there were, and the running means."""
        named = {"num_steps": torch.tensor(self.num_steps)}
        named |= {f"means.{i}": mean for i, mean in enumerate(self.means)}
        return named | {f"squares.{i}": square for i, square in enumerate(self.squares)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self.num_steps = int(state["num_steps"])
        for i, (mean, square) in enumerate(zip(self.means, self.squares, strict=True)):
            mean.copy_(state[f"means.{i}"])
            square.copy_(state[f"squares.{i}"])


Optimizer = SGD | Adam


def make_optimizer(name: str, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.01) -> Optimizer:
    """Return `sgd`, `adam` or `adamw`; the last alone decays weights."""
    kinds: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: SGD(parameters, lr),
        "adam": lambda: Adam(parameters, lr),
        "adamw": lambda: Adam(parameters, lr, weight_decay),
    }
    return kinds[name]()
