import math
import random
from dataclasses import replace

import losses_of_a_user
import numpy as np
import pytest
import torch
from emulation import EmulatedKernels
from plain_pytorch import PlainTrial
from toy_trials import LOSSES, config, random_dataset, settings, varied_configs

from sweeper import metrics
from sweeper.errors import TrainingError
from sweeper.records import EpochMetrics
from sweeper.training.engine import MemberFailure, Pack

MINE = "losses_of_a_user"


def assert_same_curve(found, expected_train_loss, expected_train_accuracy, expected_val_loss, expected_learning_rate):
    assert found.train_loss == pytest.approx(expected_train_loss, rel=1e-4)
    assert found.train_accuracy == pytest.approx(expected_train_accuracy, abs=0.006)  # one image in 200 on an edge
    assert found.val_loss == pytest.approx(expected_val_loss, rel=1e-4)
    assert found.learning_rate == pytest.approx(expected_learning_rate, rel=1e-12)


def assert_same_weights(state, plain, atol=2e-5):
    for name, expected in plain.weights().items():
        np.testing.assert_allclose(state[f"weights/{name}"], expected, atol=atol, err_msg=name)


def live(pack):
    return tuple(pack._members)


def states(pack):
    return {trial_id: pack.state(trial_id) for trial_id in live(pack)}


def assert_equal_states(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.fixture(params=["lanes", "operators", EmulatedKernels], ids=["lanes", "operators", "fused"])
def backend(request):
    return request.param


@pytest.mark.parametrize("n_members", [1, 2, 7, 32])
def test_a_packed_member_learns_what_it_would_learn_alone(dataset, n_members, backend):
    configs = varied_configs(n_members)
    pack = Pack(dataset, settings(), configs, backend=backend)
    plain = [PlainTrial(dataset, settings(), member) for member in configs]
    for epoch in (1, 2):
        result = pack.train_epoch()
        assert list(result) == list(live(pack)) == [member.trial_id for member in configs]
        for member, alone in zip(configs, plain, strict=True):
            assert result[member.trial_id].epoch == epoch
            assert_same_curve(result[member.trial_id], *alone.train_epoch())
    for member, alone in zip(configs, plain, strict=True):
        assert_same_weights(pack.state(member.trial_id), alone)


@pytest.mark.parametrize("n_members", [1, 9])
def test_the_notebooks_way_trains_on_everything_and_measures_on_test(dataset, n_members, backend):
    way = settings(reduction="elements", validation=None, evaluate_on="test")
    configs = varied_configs(n_members)
    pack = Pack(dataset, way, configs, backend=backend)
    result = pack.train_epoch()
    for member in configs:
        alone = PlainTrial(dataset, way, member)
        assert_same_curve(result[member.trial_id], *alone.train_epoch())
        assert_same_weights(pack.state(member.trial_id), alone)


def test_members_with_other_seeds_and_batch_sizes_keep_their_own_batches(dataset, backend):
    configs = varied_configs(8, seeds=(1, 2, 3), batch_sizes=(64, 33, 250))
    pack = Pack(dataset, settings(), configs, backend=backend)
    pack.train_epoch()
    result = pack.train_epoch()
    for member in configs:
        alone = PlainTrial(dataset, settings(), member)
        alone.train_epoch()
        assert_same_curve(result[member.trial_id], *alone.train_epoch())
        assert_same_weights(pack.state(member.trial_id), alone)


def test_a_pack_without_augmentation_learns_on_the_images_as_they_are(dataset, backend):
    pack = Pack(dataset, settings(augment=False), varied_configs(2), backend=backend)
    result = pack.train_epoch()
    for member in varied_configs(2):
        assert_same_curve(result[member.trial_id], *PlainTrial(dataset, settings(augment=False), member).train_epoch())


@pytest.mark.parametrize(
    ("height", "width", "n_classes", "backend"),
    [
        *((28, 37, 3, backend) for backend in ("lanes", "operators", EmulatedKernels)),
        *(size for backend in ("operators", EmulatedKernels) for size in ((10, 10, 2, backend), (64, 48, 12, backend))),
    ],
)
def test_other_image_sizes_and_class_counts_resize_the_linear_layers(height, width, n_classes, backend):
    data = random_dataset(60, 24, height, width, n_classes)
    configs = varied_configs(3)
    way = settings(validation=12)
    pack = Pack(data, way, configs, backend=backend)
    result = pack.train_epoch()
    for member in configs:
        alone = PlainTrial(data, way, member)
        assert_same_curve(result[member.trial_id], *alone.train_epoch())
        assert_same_weights(pack.state(member.trial_id), alone)


def varied_recipes(**changes):
    """Members that differ in how images are varied, and in whether and how far targets are smoothed."""
    policies = ("randaugment", "none", "crop_flip", "cutout", "flip")
    losses = [each for each in LOSSES if each["loss"] != "label_smoothing"]
    shares = ({}, {"label_smoothing": 0.0}, {"label_smoothing": 0.3})
    return [
        config(number, augment=policies[number % 5], **losses[number % len(losses)], **shares[number % 3], **changes)
        for number in range(16)
    ]


def test_members_with_recipes_of_their_own_learn_what_they_would_alone(dataset, backend):
    configs = varied_recipes(learning_rate=0.02)
    pack = Pack(dataset, settings(), configs, backend=backend)
    result = pack.train_epoch()
    for member in configs:
        alone = PlainTrial(dataset, settings(), member)
        assert_same_curve(result[member.trial_id], *alone.train_epoch())
        assert_same_weights(pack.state(member.trial_id), alone)


@pytest.mark.parametrize("policy", ["flip", "cutout", "randaugment"])
def test_a_sweep_varies_images_as_its_settings_say(dataset, policy, backend):
    result = Pack(dataset, settings(augment=policy), [config(0), config(1, augment="none")], backend=backend).train_epoch()
    assert_same_curve(result["arm-0"], *PlainTrial(dataset, settings(augment=policy), config(0)).train_epoch())
    assert_same_curve(result["arm-1"], *PlainTrial(dataset, settings(augment=False), config(1)).train_epoch())


@pytest.mark.parametrize("n_threads", [1, 2])
def test_on_the_cpu_recipes_of_others_change_no_bit_of_a_member_which_goes_on_from_its_state(dataset, n_threads):
    torch.set_num_threads(n_threads)
    configs = varied_recipes()
    together = Pack(dataset, settings(), configs)
    curves = [together.train_epoch()]
    saved = states(together)
    curves.append(together.train_epoch())
    for member in configs:
        alone, resumed = Pack(dataset, settings(), [member]), Pack(dataset, settings(), [member])
        for curve in curves:
            (metrics,) = alone.train_epoch().values()
            assert replace(metrics, epoch_seconds=0.0) == replace(curve[member.trial_id], epoch_seconds=0.0)
        resumed.restore(member.trial_id, saved[member.trial_id])
        resumed.train_epoch()
        for pack in (alone, resumed):
            assert_equal_states(together.state(member.trial_id), pack.state(member.trial_id))


def test_targets_cannot_be_smoothed_twice(dataset):
    with pytest.raises(TrainingError, match="label_smoothing beside the loss label_smoothing, which smooths by its own parameter"):
        Pack(dataset, settings(), [config(0, loss="label_smoothing", smoothing=0.1, label_smoothing=0.1)])


RESIDUAL = "models_of_a_user:Residual"


@pytest.mark.parametrize(("model", "backend"), [(RESIDUAL, "auto"), (RESIDUAL, "operators"), ("convnet", "operators")])
def test_in_bfloat16_a_network_learns_nearly_the_same_and_twice_the_same_bits(dataset, model, backend):
    way = settings(model=model)
    exact, halves = [config(number, precision="float32") for number in (0, 1)], [config(number, precision="bfloat16") for number in (2, 3)]
    pack, again = (Pack(dataset, way, [exact[0], *halves, exact[1]], backend=backend) for _ in range(2))
    result, repeated = pack.train_epoch(), again.train_epoch()
    assert result["arm-0"].train_loss == pytest.approx(Pack(dataset, way, [exact[0]], backend=backend).train_epoch()["arm-0"].train_loss)
    for trial_id in ("arm-2", "arm-3"):
        assert result[trial_id].train_loss != result["arm-0"].train_loss
        assert result[trial_id].train_loss == pytest.approx(result["arm-0"].train_loss, rel=0.02)
        assert result[trial_id].val_loss == pytest.approx(result["arm-0"].val_loss, rel=0.05)
        assert replace(result[trial_id], epoch_seconds=0.0) == replace(repeated[trial_id], epoch_seconds=0.0)
        assert_equal_states(pack.state(trial_id), again.state(trial_id))
        assert {array.dtype for array in pack.state(trial_id).values()} == {np.dtype("float32"), np.dtype("int64")}
        assert pack.predict(trial_id, "test").logits.dtype == np.float32
    if backend == "auto":  # member by member
        alone = Pack(dataset, way, [halves[0]])
        alone.train_epoch()
        assert_equal_states(alone.state("arm-2"), pack.state("arm-2"))


def test_the_fused_kernels_take_no_member_in_bfloat16_with_smoothed_targets_or_changed_bytes(dataset):
    pack = Pack(dataset, settings(), varied_recipes(), backend=EmulatedKernels)
    pack.add([config(20, precision="bfloat16")])
    taken = {member.config.trial_id for member in pack._members.values() if pack._fused.takes(member)}
    assert taken == {
        each.trial_id
        for each in varied_recipes()
        if each.parameters["augment"] in {"none", "flip", "crop_flip"} and not each.parameters.get("label_smoothing")
    }


def test_the_convnet_refuses_bfloat16_on_a_cpu_and_its_company_trains_on(dataset):
    pack = Pack(dataset, settings(), [config(0), config(1, precision="bfloat16")])
    result = pack.train_epoch()
    assert result["arm-1"].error == (
        "precision bfloat16: the convnet on a CPU computes in float32 alone, where it is faster; take float32, or train on a GPU"
    )
    assert isinstance(result["arm-0"], EpochMetrics)
    assert live(pack) == ("arm-0",)


def test_members_that_leave_and_come_do_not_disturb_the_others(dataset, backend):
    first, newcomer = varied_configs(4), config(9, loss="mse")
    pack = Pack(dataset, settings(), first, backend=backend)
    pack.train_epoch()
    pack.remove([first[1].trial_id, "no-such-trial"])
    pack.add([newcomer])
    assert live(pack) == ("arm-0", "arm-2", "arm-3", "arm-9")
    result = pack.train_epoch()
    assert {trial_id: figures.epoch for trial_id, figures in result.items()} == {"arm-0": 2, "arm-2": 2, "arm-3": 2, "arm-9": 1}
    for member in (first[0], first[2], first[3]):
        alone = PlainTrial(dataset, settings(), member)
        alone.train_epoch()
        assert_same_curve(result[member.trial_id], *alone.train_epoch())
    assert_same_curve(result["arm-9"], *PlainTrial(dataset, settings(), newcomer).train_epoch())


@pytest.mark.parametrize("n_threads", [1, 2, 6])
@pytest.mark.parametrize("batch_size", [64, 33])
def test_on_the_cpu_company_changes_no_bit_of_a_member(dataset, batch_size, n_threads):
    torch.set_num_threads(n_threads)
    configs = varied_configs(11, seeds=(1, 1, 1, 2), batch_sizes=(batch_size,))
    together = Pack(dataset, settings(), configs)
    curves = [together.train_epoch(), together.train_epoch()]
    for member in configs:
        alone = Pack(dataset, settings(), [member])
        for curve in curves:
            (metrics,) = alone.train_epoch().values()
            assert replace(metrics, epoch_seconds=0.0) == replace(curve[member.trial_id], epoch_seconds=0.0)
        assert_equal_states(together.state(member.trial_id), alone.state(member.trial_id))


@pytest.mark.parametrize("n_threads", [2, 6])
def test_a_pack_learns_the_same_bits_twice_on_several_threads(dataset, n_threads):
    torch.set_num_threads(n_threads)
    once, again = (Pack(dataset, settings(), varied_configs(5)) for _ in range(2))
    curves = [{trial_id: replace(row, epoch_seconds=0.0) for trial_id, row in pack.train_epoch().items()} for pack in (once, again)]
    assert curves[0] == curves[1]
    for trial_id in live(once):
        assert_equal_states(once.state(trial_id), again.state(trial_id))


def test_training_leaves_torch_as_many_threads_as_it_had(dataset):
    torch.set_num_threads(2)
    Pack(dataset, settings(), [config(0)]).train_epoch()
    assert torch.get_num_threads() == 2


def test_a_member_learns_on_two_threads_what_it_learns_on_one(dataset):
    configs = varied_configs(3)
    torch.set_num_threads(2)
    result = Pack(dataset, settings(), configs).train_epoch()
    for member in configs:
        assert_same_curve(result[member.trial_id], *PlainTrial(dataset, settings(), member).train_epoch())


def test_a_member_continues_bit_for_bit_from_its_state_in_any_pack(dataset):
    configs = varied_configs(5, seeds=(1, 2), batch_sizes=(64, 50))
    pack = Pack(dataset, settings(), configs)
    pack.train_epoch()
    saved = pack.state("arm-3")
    resumed = Pack(dataset, settings(), [config(20, loss="mse"), configs[3]])
    resumed.restore("arm-3", saved)
    pack.train_epoch()
    resumed.train_epoch()
    assert_equal_states(resumed.state("arm-3"), pack.state("arm-3"))


def test_a_pack_continues_bit_for_bit_from_its_states(dataset, backend):
    configs = varied_configs(5, seeds=(1, 2), batch_sizes=(64, 50))
    pack = Pack(dataset, settings(), configs, backend=backend)
    pack.train_epoch()
    saved = states(pack)
    resumed = Pack(dataset, settings(), configs, backend=backend)
    for trial_id, state in saved.items():
        resumed.restore(trial_id, state)
        assert_equal_states(resumed.state(trial_id), state)
    torch.manual_seed(99)  # no random state outside the trial matters
    expected, found = pack.train_epoch(), resumed.train_epoch()
    for trial_id in expected:
        assert_equal_states(resumed.state(trial_id), pack.state(trial_id))
        assert expected[trial_id].train_loss == found[trial_id].train_loss
        assert expected[trial_id].val_nll == found[trial_id].val_nll
        assert found[trial_id].epoch == 2


def test_a_saved_state_does_not_change_while_its_member_learns_on(dataset):
    pack = Pack(dataset, settings(), [config(0)])
    before = pack.state("arm-0")
    kept = {name: array.copy() for name, array in before.items()}
    pack.train_epoch()
    assert_equal_states(before, kept)
    pack.restore("arm-0", before)
    pack.train_epoch()
    assert_equal_states(before, kept)


def test_a_checkpoint_of_another_model_is_refused_by_name(dataset):
    pack = Pack(dataset, settings(), [config(0)])
    state = pack.state("arm-0")
    state["weights/fc2.bias"] = np.zeros(7, np.float32)
    del state["velocity/conv1.bias"]
    with pytest.raises(TrainingError, match=r"checkpoint of trial arm-0 .*: velocity/conv1.bias, weights/fc2.bias"):
        pack.restore("arm-0", state)


@pytest.mark.parametrize("n_members", [2, 9, 20])
def test_a_diverging_member_changes_no_bit_of_the_others(dataset, n_members, backend):
    healthy = varied_configs(n_members)
    sick = [config(n_members, learning_rate=0.01), config(n_members + 1, loss="l1", seed=2)]
    burst = [config(n_members, learning_rate=1e38), config(n_members + 1, loss="l1", seed=2, learning_rate=1e38)]
    calm, wild = (Pack(dataset, settings(), healthy + last, backend=backend) for last in (sick, burst))
    for _ in range(2):
        expected, found = calm.train_epoch(), wild.train_epoch()
    for member in healthy:
        assert_equal_states(wild.state(member.trial_id), calm.state(member.trial_id))
        assert found[member.trial_id].val_brier == expected[member.trial_id].val_brier
    diverged = found[f"arm-{n_members}"]
    assert isinstance(diverged, EpochMetrics)
    assert math.isnan(diverged.train_loss)
    assert math.isnan(diverged.val_loss)
    assert math.isnan(diverged.val_nll)
    assert math.isnan(diverged.val_ece)
    assert diverged.val_accuracy == 0


@pytest.mark.parametrize(
    ("loss", "parameters", "error"),
    [
        ("no_such_module:Loss", {}, "ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{MINE}:Nothing", {}, "has no such name; a loss is given as package.module:Name"),
        (f"{MINE}:CONSTANT", {}, "holds a int under it, neither class nor function"),
        (f"{MINE}:NotCallable", {}, "cannot be called with (logits, labels)"),
        (f"{MINE}:Focal", {}, "needs gamma; add it to the parameters of the space"),
        (f"{MINE}:leaves", {}, "SystemExit: 3"),
        (f"{MINE}:Counting", {"fails_at": 3}, "RuntimeError: out of calls"),
        (f"{MINE}:FailsInEvaluation", {}, "RuntimeError: no gradient, no loss"),
        (f"{MINE}:a_number", {}, "returned a float; it must return a tensor, either a scalar or one loss per image"),
        (f"{MINE}:per_class", {}, "returned shape [10] for 64 images"),
        (f"{MINE}:detached", {}, "does not depend on the logits"),
        (f"{MINE}:scribbles", {}, "modified by an inplace operation"),
        (f"{MINE}:elsewhere", {}, "does not depend on the logits"),
        (f"{MINE}:Scaled", {}, "has parameters to train (scale), and only the network is trained"),
        (f"{MINE}:whole_numbers", {}, "returned torch.int64; it must return floating-point numbers"),
        ("subprocess:Popen", {"args": "true"}, "is of Python's standard library, which holds no loss and no model"),
    ],
)
def test_a_loss_of_the_users_own_that_fails_ends_its_trial_alone(dataset, loss, parameters, error):
    others = varied_configs(3)
    pack = Pack(dataset, settings(), [*others, config(7, loss=loss, **parameters)])
    beside = Pack(dataset, settings(), [*others, config(7, loss=f"{MINE}:smoothed")])
    result = pack.train_epoch()
    beside.train_epoch()
    failure = result["arm-7"]
    assert isinstance(failure, MemberFailure)
    assert error in failure.error
    assert "\n" not in failure.error
    assert "Traceback (most recent call last)" in failure.traceback
    assert live(pack) == ("arm-0", "arm-1", "arm-2")
    for trial_id in live(pack):
        assert_equal_states(pack.state(trial_id), beside.state(trial_id))
    assert list(pack.train_epoch()) == ["arm-0", "arm-1", "arm-2"]


def test_losses_of_the_users_own_train_like_the_built_in_ones(dataset):
    pack = Pack(
        dataset,
        settings(),
        [
            config(0, loss="focal", gamma=1.5),
            config(1, loss=f"{MINE}:Focal", gamma=1.5),
            config(2, loss="label_smoothing", smoothing=0.3),
            config(3, loss=f"{MINE}:smoothed", smoothing=0.3),
            config(4),
            config(5, loss="torch.nn:CrossEntropyLoss"),
            config(6, loss=f"{MINE}:with_any", gamma=3.0),
        ],
    )
    pack.train_epoch()
    result = pack.train_epoch()
    for built_in, own in (("arm-0", "arm-1"), ("arm-2", "arm-3"), ("arm-4", "arm-5"), ("arm-4", "arm-6")):
        assert result[own].train_loss == pytest.approx(result[built_in].train_loss, rel=1e-5)
        assert result[own].val_loss == pytest.approx(result[built_in].val_loss, rel=1e-5)
        assert result[own].val_nll == pytest.approx(result[built_in].val_nll, rel=1e-5)


def test_a_loss_of_the_users_own_never_sees_more_images_than_its_batch_size(dataset):
    pack = Pack(dataset, settings(), [config(0, batch_size=33), config(1, loss=f"{MINE}:NeverMoreThan", most=33, batch_size=33)])
    result = pack.train_epoch()
    assert result["arm-1"].val_loss == pytest.approx(result["arm-0"].val_loss, rel=1e-5)


DRAWING = [f"{MINE}:noisy", f"{MINE}:RandomWeights"]


@pytest.mark.parametrize("loss", DRAWING)
def test_a_loss_that_draws_at_random_learns_packed_what_it_learns_alone(dataset, loss):
    configs = [config(number, loss=loss, seed=seed, batch_size=50) for number, seed in enumerate((1, 1, 2))]
    pack = Pack(dataset, settings(), [*configs[1:], config(7), configs[0]])
    packed = [pack.train_epoch() for _ in range(2)]
    for member in configs:
        torch.manual_seed(99)  # whatever was drawn before
        alone = Pack(dataset, settings(), [member])
        for together in packed:
            by_itself = alone.train_epoch()[member.trial_id]
            assert replace(by_itself, epoch_seconds=0.0) == replace(together[member.trial_id], epoch_seconds=0.0)
        assert_equal_states(pack.state(member.trial_id), alone.state(member.trial_id))
        assert pack.loss(member.trial_id, "test") == alone.loss(member.trial_id, "test")


@pytest.mark.parametrize("loss", DRAWING)
def test_a_loss_that_draws_at_random_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(dataset, loss):
    member = config(0, loss=loss)
    through, stopped, resumed = (Pack(dataset, settings(), [member]) for _ in range(3))
    through.train_epoch()
    stopped.train_epoch()
    resumed.restore("arm-0", stopped.state("arm-0"))
    on, again = through.train_epoch()["arm-0"], resumed.train_epoch()["arm-0"]
    assert replace(on, epoch_seconds=0.0) == replace(again, epoch_seconds=0.0)
    assert_equal_states(through.state("arm-0"), resumed.state("arm-0"))


def test_a_loss_draws_anew_in_every_epoch_and_step(dataset):
    pack = Pack(dataset, settings(), [config(0, loss=f"{MINE}:telling", learning_rate=1e-9)])
    losses_of_a_user.TOLD.clear()
    pack.train_epoch()
    pack.train_epoch()
    assert len(set(losses_of_a_user.TOLD)) == 2 * (4 + 1)  # epochs, steps, batches of the validation split


def test_losses_that_draw_leave_the_generators_of_the_program_alone(dataset):
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    pack = Pack(dataset, settings(), [config(number, loss=loss) for number, loss in enumerate(DRAWING)])
    pack.train_epoch()
    pack.loss("arm-0", "test")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_predictions_carry_the_images_of_their_split_in_file_order(dataset):
    pack = Pack(dataset, settings(), varied_configs(3, seeds=(1, 2)))
    result = pack.train_epoch()
    for member in varied_configs(3, seeds=(1, 2)):
        plain = PlainTrial(dataset, settings(), member)
        plain.train_epoch()
        for on in ("validation", "test"):
            found = pack.predict(member.trial_id, on)
            logits, labels = plain.predict(on)
            expected_images = plain.validation_index if on == "validation" else np.arange(70)
            np.testing.assert_array_equal(found.images, expected_images)
            np.testing.assert_array_equal(found.labels, labels)
            np.testing.assert_allclose(found.logits, logits, atol=1e-4)
            assert found.logits.dtype == np.float32
        found, row = pack.predict(member.trial_id, "validation"), result[member.trial_id]
        assert row.val_accuracy == metrics.accuracy(found.logits, found.labels)
        assert row.val_nll == pytest.approx(metrics.nll(found.logits, found.labels), abs=1e-5)
        assert row.val_brier == pytest.approx(metrics.brier(found.logits, found.labels), abs=1e-5)
        assert row.val_loss == pytest.approx(pack.loss(member.trial_id, "validation"), rel=1e-5)


def test_asking_for_a_validation_split_that_is_not_held_out_is_refused(dataset):
    pack = Pack(dataset, settings(validation=None, evaluate_on="test"), [config(0)])
    with pytest.raises(TrainingError, match="holds no validation images"):
        pack.predict("arm-0", "validation")


def test_the_loss_on_test_is_the_trials_own_and_says_why_it_cannot_be_had(dataset):
    pack = Pack(dataset, settings(), [config(0, loss="l1"), config(1, loss=f"{MINE}:FailsInEvaluation")])
    plain = PlainTrial(dataset, settings(), config(0, loss="l1"))
    logits, labels = plain.predict("test")
    expected = (logits - torch.nn.functional.one_hot(labels, 10)).abs().sum(1).mean().item()
    assert pack.loss("arm-0", "test") == pytest.approx(expected, rel=1e-5)
    with pytest.raises(TrainingError, match="no gradient, no loss"):
        pack.loss("arm-1", "test")


def test_unknown_models_losses_and_doubled_trials_are_refused(dataset):
    with pytest.raises(TrainingError, match="unknown model 'resnet'; known are convnet"):
        Pack(dataset, settings(model="resnet"), [])
    with pytest.raises(TrainingError, match="unknown loss 'focall'; known are l1, cross_entropy, focal"):
        Pack(dataset, settings(), [config(0, loss="focall")])
    pack = Pack(dataset, settings(), [config(0)])
    with pytest.raises(TrainingError, match="trial arm-0 is already in the pack"):
        pack.add([config(0)])


def test_an_empty_pack_has_nothing_to_report(dataset):
    pack = Pack(dataset, settings(), [])
    assert live(pack) == ()
    assert pack.train_epoch() == {}


def test_training_neither_reads_nor_moves_the_global_random_state(dataset):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = Pack(dataset, settings(), [config(0)]).train_epoch()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = Pack(dataset, settings(), [config(0)]).train_epoch()
    assert first["arm-0"].val_loss == second["arm-0"].val_loss


def test_each_member_is_charged_its_share_of_the_packs_seconds(dataset):
    result = Pack(dataset, settings(), varied_configs(4)).train_epoch()
    seconds = {figures.epoch_seconds for figures in result.values()}
    assert len(seconds) == 1
    assert seconds.pop() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_a_packed_member_learns_on_the_gpu_what_it_learns_on_the_cpu(dataset, seeds):
    configs = varied_configs(9, seeds=seeds, batch_sizes=(64, 50))
    on_cpu, on_gpu = Pack(dataset, settings(), configs), Pack(dataset, settings(), configs, "cuda")
    for _ in range(2):
        expected, found = on_cpu.train_epoch(), on_gpu.train_epoch()
    for trial_id, figures in expected.items():
        assert_same_curve(found[trial_id], figures.train_loss, figures.train_accuracy, figures.val_loss, figures.learning_rate)
