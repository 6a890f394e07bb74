from bisect import bisect
from collections import defaultdict

import numpy as np

from timemachine.language.ngrams.context_mixing import ContextMixing
from timemachine.language.ngrams.contexts import CONTEXTS
from timemachine.language.ngrams.experts import Layout

VOCABULARY = ["<unk>", "a", " ", "b", "y"]


def test_a_token_has_the_rate_of_all_tokens_that_were_in_its_state() -> None:
    text = np.random.default_rng(0).choice(len(VOCABULARY), 900, p=[0.01, 0.02, 0.2, 0.37, 0.4])
    model, context = ContextMixing(VOCABULARY, Layout({"letters": (("o0",), 1)}, maps=["o2"]), 0.0), []
    hits, trials, ages = defaultdict(lambda: 0.02), defaultdict(lambda: 1.0), set()
    for t, token in enumerate(text.tolist()):
        model.learn(np.array([token]))
        context.append(int(model._state.contexts[CONTEXTS.index("o2")]))
        places = [p for p in range(2, t) if context[p] == context[t]]
        states = []
        for v in range(len(VOCABULARY)):
            seen = [p for p in places if text[p] == v]
            age = bisect([100, 500, 2_000, 10_000, 40_000], t - seen[-1]) if seen else None
            states.append((bisect([1, 2, 3, 4, 8], len(seen)), age, bisect([1, 2, 3, 4, 6, 16, 64], len(places))))
            ages.add(age)
        rates = np.array([hits[state] / trials[state] for state in states])
        np.testing.assert_allclose(model._state.experts.P[1], rates / rates.sum(), rtol=1e-12)
        for state in states:
            trials[state] += 1
        hits[states[token]] += 1
    assert ages == {None, 0, 1, 2}
