"""Tries a training loop of the user's own on a few images before any trial is trained with it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace

import numpy as np

from sweeper.data import Dataset
from sweeper.records import TrainingSettings, TrialConfig
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.loop import Loops

N_TRAIN, N_VALIDATION, N_TEST = 32, 16, 16
"""Images of each split; noise, of as many classes as leave some images of each."""

MOST_CLASSES = 8


def loop_problem(dataset: Dataset, settings: TrainingSettings, config: TrialConfig, device: str) -> str | None:
    """What is wrong with a loop and these parameters of a trial, or ``None``. What it prints goes to stderr.

    It is run for one epoch and to its end, on noise of the size of the data set's images; once more from the state that it yields, if any.
    """
    few, settings = _few_images(dataset, settings.validation is not None), replace(settings, epochs=1)
    settings = replace(settings, validation=N_VALIDATION if settings.validation is not None else None)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            loops = Loops(few, settings, [config], device)
        except Exception as error:
            return MemberFailure.of(error).error
        try:
            epoch = loops.train_epoch()[config.trial_id]
            if isinstance(epoch, MemberFailure):
                return _said(settings, epoch)
            if (state := loops.state(config.trial_id)) is not None:
                again = Loops(few, settings, [config], device)
                try:
                    again.restore(config.trial_id, state)
                    again.test(config.trial_id)
                except (Exception, SystemExit) as error:  # the user's code may raise anything
                    return f"training loop {settings.loop!r} cannot go on from the state that it yields: {MemberFailure.of(error).error}"
                finally:
                    again.remove([config.trial_id])
        finally:
            loops.remove([config.trial_id])
    return None


def _said(settings: TrainingSettings, failure: MemberFailure) -> str:
    """What a failure says, with the name of the loop where it is the loop's own exception."""
    return failure.error if failure.error.startswith("training loop ") else f"training loop {settings.loop!r} fails: {failure.error}"


def _few_images(dataset: Dataset, with_validation: bool) -> Dataset:
    """Noise of the size of a data set's images."""
    generator, shape = np.random.default_rng(0), dataset.train_images.shape[1:]
    n_train = N_TRAIN + (N_VALIDATION if with_validation else 0)
    train, test = (generator.integers(0, 256, (n, *shape), dtype=np.uint8) for n in (n_train, N_TEST))
    train_labels, test_labels = (np.arange(n, dtype=np.int64) % min(MOST_CLASSES, len(dataset.classes)) for n in (n_train, N_TEST))
    return replace(dataset, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels)
