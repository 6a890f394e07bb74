from functools import partial
from typing import Any

import pytest
import torch
from tiny import tiny_params
from torch import nn
from torch.nn import functional as F

from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnRecipe
from timemachine.language.models.recurrence import Recurrence, run_layers
from timemachine.language.models.rnn import RNN, Dropout, run_with
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.training.initialisation import initialise_
from timemachine.training.state import State, detach

VOCAB_SIZE, NUM_HIDDENS, BATCH, NUM_STEPS = 7, 5, 3, 6
X = torch.randint(VOCAB_SIZE, (BATCH, NUM_STEPS), generator=torch.Generator().manual_seed(0))

CONFIGS: list[dict[str, Any]] = [
    {"implementation": implementation, "cell": cell, "activation": activation, "embedding_dim": e, "num_layers": n}
    for implementation, cell, activation, e, n in [
        ("scratch", "rnn", "tanh", None, 1),
        ("scratch", "rnn", "relu", 4, 1),
        ("concise", "rnn", "tanh", None, 1),
        ("concise", "rnn", "relu", None, 2),
        ("concise", "gru", "tanh", 4, 1),
        ("concise", "lstm", "tanh", None, 2),
    ]
]


def build(config: dict[str, Any], seed: int = 0) -> nn.Module:
    recipe = RnnRecipe(**tiny_params()["train_rnn"]["carried"] | config | {"num_hiddens": NUM_HIDDENS})
    return build_language_model(recipe, VOCAB_SIZE, torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(params=CONFIGS, ids=lambda config: "-".join(str(value) for value in config.values()))
def model(request: pytest.FixtureRequest) -> nn.Module:
    return build(request.param)


def test_logits_have_a_row_for_each_token(model: nn.Module) -> None:
    logits, _ = model(X)
    assert logits.shape == (BATCH, NUM_STEPS, VOCAB_SIZE)


def test_two_halves_with_carried_state_are_the_whole(model: nn.Module) -> None:
    whole, _ = model(X)
    state: State = None
    halves = []
    for part in X.split(NUM_STEPS // 2, dim=1):
        logits, state = model(part, state)
        halves.append(logits)
    torch.testing.assert_close(torch.cat(halves, 1), whole)


def test_a_token_changes_no_logits_before_it(model: nn.Module) -> None:
    other = X.clone()
    other[:, 3] = (other[:, 3] + 1) % VOCAB_SIZE
    before, after = model(X)[0], model(other)[0]
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_same_generator_gives_the_same_weights_whatever_the_global_seed(config: dict[str, Any]) -> None:
    torch.manual_seed(1)
    first = build(config).state_dict()
    torch.manual_seed(2)
    second, third = build(config).state_dict(), build(config, seed=9).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_scratch_is_torchs_layer_with_the_same_weights(activation: str) -> None:
    scratch = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, activation, generator=torch.Generator().manual_seed(0))
    concise = RNN(VOCAB_SIZE, NUM_HIDDENS, activation=activation)
    with torch.no_grad():
        for p in scratch.parameters():
            p.mul_(40)  # out of the range where tanh is the identity
        concise.rnn.weight_ih_l0.copy_(scratch.W_xh.T)
        concise.rnn.weight_hh_l0.copy_(scratch.W_hh.T)
        concise.rnn.bias_ih_l0.copy_(scratch.b_h)
        concise.rnn.bias_hh_l0.zero_()
        concise.output.weight.copy_(scratch.W_hq.T)
        concise.output.bias.copy_(scratch.b_q)
    for m in (scratch, concise):
        F.cross_entropy(m(X)[0].flatten(0, 1), X.flatten()).backward()
    torch.testing.assert_close(scratch(X)[0], concise(X)[0])
    torch.testing.assert_close(scratch.W_hh.grad, concise.rnn.weight_hh_l0.grad.T)
    torch.testing.assert_close(scratch.W_xh.grad, concise.rnn.weight_ih_l0.grad.T)
    torch.testing.assert_close(scratch.b_h.grad, concise.rnn.bias_ih_l0.grad)
    torch.testing.assert_close(scratch.W_hq.grad, concise.output.weight.grad.T)
    torch.testing.assert_close(scratch.b_q.grad, concise.output.bias.grad)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_layers_run_by_our_recurrence_are_torchs(activation: str) -> None:
    generator = torch.Generator().manual_seed(0)
    layers = nn.RNN(4, NUM_HIDDENS, num_layers=2, nonlinearity=activation)
    initialise_(layers, generator)
    inputs = torch.randn(NUM_STEPS, BATCH, 4, generator=generator)
    state = torch.randn(2, BATCH, NUM_HIDDENS, generator=generator)
    results = []
    for run in (layers, partial(run_layers, layers)):
        H, last = run(inputs, state)
        results.append((H, last, *torch.autograd.grad(H.sum() + last.square().sum(), list(layers.parameters()))))
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_indices_are_one_hot_inputs_of_our_recurrence() -> None:
    layers = nn.RNN(VOCAB_SIZE, NUM_HIDDENS)
    initialise_(layers, torch.Generator().manual_seed(0))
    results = []
    for inputs in (F.one_hot(X.T, VOCAB_SIZE).float(), X.T):
        H, _ = run_layers(layers, inputs, None)
        results.append((H, *torch.autograd.grad(H.square().sum(), list(layers.parameters()))))
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_layer_without_a_known_initialisation_is_an_error_that_names_it() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.LayerNorm(3)))
    with pytest.raises(TypeError, match=r"LayerNorm '1\.0'"):
        initialise_(layers, torch.Generator())


@pytest.mark.parametrize("activation", ["tanh", "relu", "identity"])
def test_the_backward_pass_is_the_gradient(activation: str) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 2, 3), (2, 3), (3, 3)]
    inputs = [torch.randn(*s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda Z, H, W: Recurrence.apply(1 * Z, H, W, activation), inputs)


def test_a_step_is_one_product_of_concatenations() -> None:
    model = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, generator=torch.Generator().manual_seed(0))
    inputs, H = F.one_hot(X[:, 0], VOCAB_SIZE).float(), torch.rand(BATCH, NUM_HIDDENS)
    following = torch.tanh(torch.cat([inputs, H], 1) @ torch.cat([model.W_xh, model.W_hh]) + model.b_h)
    torch.testing.assert_close(model(X[:, :1], H)[1], following)


def test_parameters_do_not_grow_with_time_steps_and_have_the_books_shapes() -> None:
    model = RNNScratch(28, 512)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == {"W_xh": (28, 512), "W_hh": (512, 512), "b_h": (512,), "W_hq": (512, 28), "b_q": (28,)}
    assert model(torch.zeros(2, 35, dtype=torch.long))[1].shape == (2, 512)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_two_directions_double_the_state_and_keep_the_logits_shape(cell: str) -> None:
    logits, state = RNN(VOCAB_SIZE, NUM_HIDDENS, cell=cell, bidirectional=True)(X)
    assert logits.shape == (BATCH, NUM_STEPS, VOCAB_SIZE)
    assert (state[0] if cell == "lstm" else state).shape == (2, BATCH, NUM_HIDDENS)


def test_a_single_step_without_gradients_is_the_lstms() -> None:
    model = build(CONFIGS[-1])
    _, state = model(X)
    expected = model(X[:, :1], state)
    with torch.inference_mode():
        found = model(X[:, :1], state)
    torch.testing.assert_close(found, expected)


def test_dropped_weights_change_the_training_and_not_the_evaluation() -> None:
    model = build(CONFIGS[-1] | {"weight_dropout": 0.5})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluated, _ = model(X)
    first, second = (model.train()(X)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(model.eval()(X)[0], evaluated)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_dropout_drops_the_same_units_at_all_steps_keeps_the_mean_and_rests_in_evaluation() -> None:
    dropout = Dropout(0.25, torch.Generator().manual_seed(0))
    H = torch.ones(4, 100, 100)
    dropped = dropout(H)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(dropout.eval()(H), H)


def test_the_models_generator_and_no_global_one_decides_what_is_dropped() -> None:
    config = CONFIGS[-1] | {"embedding_dropout": 0.5, "dropout": 0.5}
    outputs = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        model = build(config).train()
        outputs.append([model(X)[0] for _ in range(2)])
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert not torch.equal(outputs[0][0], outputs[0][1])


def test_autocast_computes_in_bfloat16_close_to_float32_and_keeps_gradients_in_float32(model: nn.Module) -> None:
    model = model.train()
    gradients = []
    for on in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=on, cache_enabled=False):
            _, state = model(X)
            logits, state = model(X, detach(state))
            loss = F.cross_entropy(logits.flatten(0, 1), X.flatten())
            loss.backward()
        for part in state if isinstance(state, tuple) else (state,):
            assert part.dtype == (torch.bfloat16 if on else torch.float32)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert gradients[1].dtype == torch.float32
    assert 0 < (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_layers_with_given_weights_are_torchs_layers_with_these_weights(cell: Any) -> None:
    layers = RNN(VOCAB_SIZE, NUM_HIDDENS, cell, num_layers=2, generator=torch.Generator().manual_seed(0)).rnn
    others = RNN(VOCAB_SIZE, NUM_HIDDENS, cell, num_layers=2, generator=torch.Generator().manual_seed(1)).rnn
    inputs = torch.randn(NUM_STEPS, BATCH, VOCAB_SIZE, generator=torch.Generator().manual_seed(0))
    weights = [W for layer in others.all_weights for W in layer]
    state: State = None
    for _ in range(2):
        found, expected = run_with(weights, layers, inputs, state), others(inputs, state)
        state = found[1]
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
