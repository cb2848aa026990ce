# ruff: noqa: E501  one case a line
import pytest
from spaces import base, space_of

from sweeper.space import check_warnings

ARMS = {"arms": "loss"}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, []),
        ({"compare": ARMS}, []),
        ({"dataset": {"name": "cifar10", "validation": "test"}}, ["dataset.validation is test"]),
        ({"search": {"metric": "val_loss"}}, ["search.metric val_loss is each trial's own loss"]),
        ({"search": {"pruner": "wilcoxon"}}, ["pruner wilcoxon takes the steps of a trial for independent samples"]),
        ({"search": {"pruner": "median"}}, []),
        ({"search": {"pruner": "median"}, "compare": {**ARMS, "searches": 4}, "resources": {"pack": 8}}, []),
        ({"search": {"pruner": "median"}, "compare": {**ARMS, "searches": 4}, "resources": {"pack": 9}}, ["pruner median compares with completed trials: of a pack of 9 up to 2 belong to one search"]),
        ({"search": {"pruner": {"name": "patient", "patience": 2, "wrapped": {"name": "percentile", "percentile": 25.0}}}, "resources": {"pack": 2}}, ["pruner percentile compares with completed trials: of a pack of 2 up to 2 belong"]),
        ({"search": {"pruner": "median"}, "compare": {"trials_per_arm": 4}}, ["sampler tpe draws its first 10", "pruner median waits for 5"]),
        ({"search": {"pruner": {"name": "threshold", "lower": 0.1, "n_warmup_steps": 9}}}, ["pruner threshold warms up for 9 of 9 epochs"]),
        ({"search": {"pruner": {"name": "patient", "patience": 9}}}, ["pruner patient waits 9 epochs and there are 9"]),
        ({"search": {"pruner": {"name": "successive_halving", "min_resource": 9}}}, ["pruner successive_halving decides after epoch 9"]),
        ({"search": {"sampler": "cmaes"}}, ["sampler cmaes draws conditional parameters and choices at random: 'gamma' and 'loss'"]),
        ({"search": {"sampler": {"name": "grid", "points": 10}}}, ["the grid of arm 'all' has 110 points and 32 trials are planned"]),
        ({"compare": {**ARMS, "searches": 1}}, ["compare.searches is 1: the verdict will speak of the configurations that are found, not of the arms"]),
        ({"compare": {**ARMS, "searches": 3}}, ["compare.searches is 3: a permutation of the searches cannot reach 0.05 with fewer than 4"]),
        ({"compare": {**ARMS, "searches": 4, "seeds": 1}}, []),
        ({"compare": {**ARMS, "searches": 1, "seeds": 5}}, ["compare.searches is 1", "compare.seeds is 5: a paired sign-flip test cannot reach 0.05 with fewer than 6"]),
        ({"compare": {**ARMS, "searches": 1, "seeds": 0}}, []),
        ({"compare": {**ARMS, "seeds": 0}}, ["compare.seeds is 0: the best of 5 searches is not confirmed on fresh seeds, and nothing compares the arms"]),
        ({"compare": {"searches": 3, "seeds": 0}}, []),
        ({"compare": {"searches": 3, "seeds": 0}, "training": {"keep": "weights"}}, ["training.keep is weights, and compare.seeds is 0"]),
        ({"compare": {**ARMS, "searches": 5}, "training": {"keep": "weights"}}, []),
        ({"parameters": {"loss": {"choices": ["l1", "focal"]}, "learning_rate": 0.1}, "compare": {**ARMS, "seeds": 5}}, ["learning_rate is not tuned for arms 'l1' and 'focal'", "compare.seeds is 5: a paired sign-flip test"]),
        (
            {"parameters": {"loss": {"choices": ["cross_entropy", "focal"]}, "learning_rate": 0.1}, "compare": ARMS, "training": {"reduction": "elements"}},
            ["learning_rate is not tuned", "reduction elements divides the gradient"],
        ),
    ],
)  # fmt: skip
def test_a_valid_space_that_may_not_mean_what_it_says_is_warned_of(sections, expected):
    found = check_warnings(space_of(base(**{"search": {"pruner": "none"}, **sections})))
    assert len(found) == len(expected), found
    assert {wanted for wanted in expected if not any(text.startswith(wanted) for text in found)} == set()
