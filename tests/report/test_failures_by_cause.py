import pandas as pd

from sweeper.report.failures import LONGEST, MAX_CAUSES, failures_by_cause


def trials(*errors):
    rows = [("complete", None, "l1-0"), *(("failed", error, f"focal-{number}") for number, error in enumerate(errors))]
    return pd.DataFrame(rows, columns=["state", "error", "trial"])


def test_errors_that_differ_in_numbers_and_addresses_alone_are_one_cause_and_the_most_frequent_comes_first():
    told = failures_by_cause(
        trials(
            "ValueError: no images",
            "RuntimeError: CUDA error 2 at 0x7f001",
            "RuntimeError: CUDA error 2 at 0x7f0a2",
        )
    )
    assert told.splitlines() == [
        "3 trials failed:",
        "  2 × RuntimeError: CUDA error 2 at 0x7f001 (for example focal-1)",
        "  1 × ValueError: no images (for example focal-0)",
    ]


def test_one_trial_is_not_called_trials_and_a_failure_without_a_word_says_so():
    assert failures_by_cause(trials(None)).splitlines() == ["1 trial failed:", "  1 × no error was recorded (for example focal-0)"]


def test_what_a_terminal_could_act_on_is_escaped_and_a_long_error_is_cut():
    (_, line) = failures_by_cause(trials("\x1b[31mred\u202e" + "x" * 1000)).splitlines()
    assert line.startswith(r"  1 × \x1b[31mred\u202exxx")
    assert len(line) < LONGEST + 50


def test_of_many_causes_the_first_are_shown_and_the_others_counted():
    lines = failures_by_cause(trials(*(f"Error{'abcdefghijklm'[cause]}" for cause in range(MAX_CAUSES + 3)))).splitlines()
    assert len(lines) == 1 + MAX_CAUSES + 1
    assert lines[-1] == "  and 3 other causes"
