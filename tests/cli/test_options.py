"""Flags that ``sweep run`` and ``sweep check`` do not have, and what is said of them."""

import click
import pytest

from sweeper.cli import cli
from sweeper.space.keys import meant_by_flag


def refusal(*arguments):
    with pytest.raises(click.NoSuchOption) as caught:
        cli.main(list(arguments), standalone_mode=False)
    assert caught.value.ctx is not None
    return caught.value.format_message()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--lr", "0.1"], "use --set parameters.learning_rate=0.1"),
        (["--lr=0.1"], "use --set parameters.learning_rate=0.1"),
        (["--learning-rate", "0.1"], "use --set parameters.learning_rate=0.1"),
        (["--batch-size=64"], "use --set training.batch_size=64"),
        (["--batch_size", "64"], "use --set training.batch_size=64"),
        (["--momentum"], "use --set training.momentum=VALUE"),
        (["--model", "my_nets:Net"], "use --set training.model=my_nets:Net"),
        (["--metric", "val_nll"], "use --set search.metric=val_nll"),
        (["--sampler", "gp"], "use --set search.sampler=gp"),
        (
            ["--scheduler"],
            "the learning rate follows training.schedule (step, cosine, constant or linear) from epoch to epoch, to 0 at the end; trials ",
        ),
        (["--validation", "test"], "use --set dataset.validation=test"),
        (["--loss", "l1"], "use --set parameters.loss=l1"),
        (["--epoch", "4"], "use --epochs 4"),
        (["--max-epochs", "4"], "use --epochs 4"),
        (["--trials", "4"], "use --trials-per-arm 4"),
        (["--n-trials=4"], "use --trials-per-arm 4"),
        (["--gpus", "1"], "use --gpus-per-trial 1"),
        (["--num-seeds", "1"], "use --seeds 1"),
        (["--restarts", "5"], "use --searches 5"),
        (["--margin", "1"], "use --set compare.margin=1"),
        (["--random-seed", "1"], "use --seed 1"),
        (["--data-path", "x"], "use --data-dir x"),
        (["--output", "x"], "use --results x"),
        (["--config", "x"], "the space file is the argument: sweep run FILE"),
        (["--wandb"], "use --log-to wandb"),
        (["--resume", "x"], "use the command sweep resume SWEEP"),
        (["--optimizer", "adam"], "use --set training.optimizer=adam"),
        (["--device", "cuda"], "trials run on GPUs where there are any"),
        (["--num-workers", "4"], "images are held in memory"),
        (["--leraning-rate", "0.1"], "use --set parameters.learning_rate=0.1"),
        (["--lr", "\x1b[31m"], "use --set parameters.learning_rate=\\x1b[31m"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_flag_of_another_tool_or_of_a_field_without_one_is_answered_with_what_is_meant(arguments, hint):
    flag = arguments[0].partition("=")[0]
    message = refusal("run", "mine.yaml", *arguments)
    assert message.startswith("No such option")
    assert flag in message
    assert f": {hint}" in message


@pytest.mark.parametrize("flag", ["--trial-per-arm", "--num-sample", "--seedz", "--foo"])
def test_a_slip_in_a_flag_is_answered_by_click_itself(flag):
    plain = click.NoSuchOption(flag, possibilities=[option for each in cli.commands["run"].params for option in each.opts])
    assert refusal("run", "mine.yaml", flag, "3") == plain.format_message()


def test_a_flag_is_named_only_to_a_command_that_has_it():
    assert meant_by_flag("--wandb", None, {"--set", "--log-to"}) == "use --log-to wandb"
    assert meant_by_flag("--wandb", None, {"--set"}) is None
    assert meant_by_flag("--epoch", "3", {"--set"}) == "use --set training.epochs=3"
