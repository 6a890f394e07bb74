"""One step of a recurrent network in numpy, torch, JAX and TensorFlow, in the frameworks that are installed.

X W_xh + H W_hh equals one product of the concatenations, [X, H] [W_xh; W_hh]. The next state is
tanh(X W_xh + H W_hh + b_h). Each framework computes the three from the same random numbers of 32 bits. The script
fails if one of them differs from numpy's by more than 1e-5.

Install JAX and TensorFlow: pip install '.[frameworks]'
Run: python benchmarks/frameworks.py
"""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# The module, and its names of the functions that make, concatenate and activate arrays.
FRAMEWORKS = {
    "numpy": ("numpy", "asarray", "concatenate", "tanh"),
    "torch": ("torch", "asarray", "cat", "tanh"),
    "jax": ("jax.numpy", "asarray", "concatenate", "tanh"),
    "tensorflow": ("tensorflow", "constant", "concat", "tanh"),
}
BATCH_SIZE, NUM_INPUTS, NUM_HIDDENS, TOLERANCE = 3, 1, 4, 1e-5


def random_inputs(seed: int = 0) -> list[Array]:
    """Return X, H, W_xh, W_hh and b_h."""
    generator = np.random.default_rng(seed)
    n, d, h = BATCH_SIZE, NUM_INPUTS, NUM_HIDDENS
    shapes: list[tuple[int, ...]] = [(n, d), (n, h), (d, h), (h, h), (h,)]
    return [generator.standard_normal(shape, dtype=np.float32) for shape in shapes]


def one_step(framework: str, inputs: list[Array]) -> list[Array]:
    """Return the sum of two products, the product of the concatenations, and the next state.

    Returns:
        Three arrays (batch_size, num_hiddens).
    """
    module, *names = FRAMEWORKS[framework]
    array, concatenate, tanh = (getattr(import_module(module), name) for name in names)
    X, H, W_xh, W_hh, b_h = map(array, inputs)
    two_products = X @ W_xh + H @ W_hh  # (batch_size, num_hiddens)
    one_product = concatenate([X, H], 1) @ concatenate([W_xh, W_hh], 0)  # (batch_size, num_hiddens)
    return [np.asarray(result) for result in (two_products, one_product, tanh(one_product + b_h))]


def main() -> None:
    """Print a line for each framework: the largest differences from numpy's two products and next state."""
    inputs = random_inputs()
    expected, _, next_state = one_step("numpy", inputs)
    for framework in FRAMEWORKS:
        if not find_spec(framework):
            print(f"{framework} is not installed: pip install '.[frameworks]'")
            continue
        results = zip(one_step(framework, inputs), (expected, expected, next_state), strict=True)
        differences = [float(np.abs(result - numpys).max()) for result, numpys in results]
        two, one, state = (f"{difference:.0e}" for difference in differences)
        version = import_module(framework).__version__
        print(f"{framework} {version}: X W_xh + H W_hh {two}, [X, H] [W_xh; W_hh] {one}, next state {state}")
        if not max(differences) <= TOLERANCE:  # NaN fails too
            raise SystemExit(f"frameworks: error: {framework} differs from numpy by more than {TOLERANCE:g}")
    print("mxnet is retired: the last package, 1.9.1, is for Python 3.5 to 3.8 and requires numpy < 2")


if __name__ == "__main__":
    main()
