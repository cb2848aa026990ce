import models_of_a_user
import numpy as np
import pytest
import torch
from plain_pytorch import PlainTrial
from test_engine import assert_equal_states, assert_same_curve, assert_same_weights
from toy_trials import config, settings, varied_configs

from sweeper.errors import ModelError
from sweeper.records import Architecture
from sweeper.training.build_model import build_model
from sweeper.training.custom_model import CustomModel
from sweeper.training.engine import Pack

MINE = "models_of_a_user"
SOUND = {
    "Residual": lambda: models_of_a_user.Residual(10),
    "mlp": lambda: models_of_a_user.mlp(10, 32, 32),
    "Branching": models_of_a_user.Branching,
    "FrozenFeatures": lambda: models_of_a_user.FrozenFeatures(10),
    "TenForAll": models_of_a_user.TenForAll,
    "Normalised": lambda: models_of_a_user.Normalised(10),
    "Dropped": lambda: models_of_a_user.Dropped(10),
    "CountingSteps": lambda: models_of_a_user.CountingSteps(10),
    "TwoFaced": lambda: models_of_a_user.TwoFaced(10),
}


def own(name, **changes):
    return settings(model=f"{MINE}:{name}", **changes)


@pytest.fixture(params=["lanes", "operators"], ids=["one by one", "packed"])
def backend(request):
    return request.param


@pytest.mark.parametrize("name", SOUND)
def test_a_packed_member_learns_what_its_model_would_learn_alone_in_plain_pytorch(dataset, name, backend):
    configs = varied_configs(4, seeds=(1, 1, 2), batch_sizes=(64, 64, 50))
    pack = Pack(dataset, own(name), configs, backend=backend)
    plain = [PlainTrial(dataset, own(name), member, SOUND[name]) for member in configs]
    for _ in range(2):
        result = pack.train_epoch()
        for member, alone in zip(configs, plain, strict=True):
            assert_same_curve(result[member.trial_id], *alone.train_epoch())
    for member, alone in zip(configs, plain, strict=True):
        state = pack.state(member.trial_id)
        assert_same_weights(state, alone)
        for buffer, tensor in alone.net.named_buffers():
            if f"buffers/{buffer}" in state:
                np.testing.assert_allclose(state[f"buffers/{buffer}"], tensor.numpy(), rtol=1e-4, atol=1e-4, err_msg=buffer)
        logits, _ = alone.predict("test")
        np.testing.assert_allclose(pack.predict(member.trial_id, "test").logits, logits, atol=1e-4)


def test_frozen_weights_stay_as_they_are_and_out_of_the_checkpoint(dataset):
    pack = Pack(dataset, own("FrozenFeatures"), [config(0, weight_decay=0.1)])
    pack.train_epoch()
    assert {name for name in pack.state("arm-0") if name.startswith("weights/")} == {"weights/head.weight", "weights/head.bias"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Residual", None),
        ("mlp", None),
        ("FrozenFeatures", None),
        ("Normalised", None),
        ("CountingSteps", None),
        ("Branching", "torch.func.vmap fails on it (RuntimeError)"),
        ("Dropped", "it draws random numbers"),
    ],
)
def test_a_model_is_packed_where_vmap_trains_it_as_alone_and_otherwise_the_pack_says_why_not(dataset, name, reason):
    assert CustomModel(f"{MINE}:{name}", 32, 32, 10).reason_against_packing() == reason
    said = reason and f"training {MINE}:{name} one member after the other: {reason}"
    assert Pack(dataset, own(name), [], backend="operators").notice == said
    assert Pack(dataset, own(name), []).notice is None  # on the CPU it is always so


def test_buffers_that_training_changes_belong_to_the_member_and_others_do_not(dataset):
    pack = Pack(dataset, own("Normalised"), [config(0), config(1, learning_rate=0.2)])
    pack.train_epoch()
    state, other = pack.state("arm-0"), pack.state("arm-1")
    assert {name for name in state if name.startswith("buffers/")} == {
        f"buffers/{layer}.{name}" for layer in ("norm", "norm2") for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert state["buffers/norm.num_batches_tracked"] == 4  # 200 images in batches of 64
    assert (state["buffers/norm2.running_mean"] != other["buffers/norm2.running_mean"]).any()
    assert not any(name.startswith("buffers/") for name in Pack(dataset, own("Residual"), [config(0)]).state("arm-0"))


def test_evaluation_changes_nothing(dataset):
    pack = Pack(dataset, own("Dropped"), [config(0)])
    pack.train_epoch()
    before, first = pack.state("arm-0"), pack.predict("arm-0", "test").logits
    np.testing.assert_array_equal(pack.predict("arm-0", "test").logits, first)
    assert_equal_states(pack.state("arm-0"), before)


def test_what_a_network_draws_follows_from_seed_epoch_and_step_alone(dataset):
    def trained(*configs, disturbed=False):
        pack = Pack(dataset, own("Dropped"), configs)
        for _ in range(2):
            torch.manual_seed(7 if disturbed else 8)
            pack.train_epoch()
        return pack.state("arm-0")

    alone = trained(config(0))
    assert_equal_states(trained(config(1, seed=3), config(0), config(2), disturbed=True), alone)
    other = trained(config(0, seed=2))
    assert (other["weights/head.weight"] != alone["weights/head.weight"]).any()


def test_no_graph_stands_for_a_step_that_draws_random_numbers(dataset):
    def capture(step):
        raise AssertionError("captured")

    Pack(dataset, own("Dropped"), [config(0, batch_size=6)], backend="operators", capture=capture).train_epoch()


def test_the_best_epoch_is_tested_with_the_buffers_that_it_had(dataset):
    way = own("Dropped", best_by="val_nll")
    pack, best = Pack(dataset, way, [config(0, learning_rate=0.5)]), (float("inf"), None)
    for _ in range(4):
        nll = pack.train_epoch()["arm-0"].val_nll
        net = Pack(dataset, own("Dropped"), [config(0)])
        net.restore("arm-0", {name: array for name, array in pack.state("arm-0").items() if not name.startswith("best_")})
        best = min(best, (nll, net.predict("arm-0", "test").logits), key=lambda found: found[0])
    np.testing.assert_array_equal(pack.predict("arm-0", "test").logits, best[1])


def test_a_trained_network_is_a_module_of_pytorch(dataset):
    pack = Pack(dataset, own("Dropped"), [config(0)])
    pack.train_epoch()
    module = models_of_a_user.Dropped(10)
    module.load_state_dict(pack.state_dict("arm-0"), strict=True)
    assert pack.state_dict("arm-0")["norm.num_batches_tracked"].dtype == torch.int64
    images = (torch.from_numpy(dataset.test_images).permute(0, 3, 1, 2) / 255 - torch.tensor(dataset.mean)[:, None, None]) / torch.tensor(
        dataset.std
    )[:, None, None]
    for net in (module.eval(), pack.module("arm-0")):
        with torch.no_grad():
            np.testing.assert_allclose(net(images).numpy(), pack.predict("arm-0", "test").logits, atol=1e-4)


def test_the_convnet_is_a_module_of_pytorch_too(dataset):
    pack = Pack(dataset, settings(), [config(0)])
    pack.train_epoch()
    plain = PlainTrial(dataset, settings(), config(0))
    plain.net.load_state_dict(pack.state_dict("arm-0"), strict=True)
    expected, _ = plain.predict("test")
    np.testing.assert_allclose(expected.numpy(), pack.predict("arm-0", "test").logits, atol=1e-4)


def test_a_builder_that_takes_anything_is_told_the_number_of_classes_by_the_name_it_knows():
    assert CustomModel(f"{MINE}:Anything", 32, 32, 10).shapes["body.head.weight"] == (10, 6)
    assert CustomModel(f"{MINE}:Anything", 32, 32, 10, {"weights": None, "channels": 8}).shapes["body.head.weight"] == (10, 8)


def test_arguments_that_are_given_go_before_the_size_of_the_images():
    assert CustomModel(f"{MINE}:Residual", 32, 32, 10, {"channels": 4}).shapes["stem.weight"] == (4, 3, 3, 3)
    with pytest.raises(ModelError, match=r"cannot be built: TypeError: .*unexpected keyword argument 'depth'"):
        CustomModel(f"{MINE}:Residual", 32, 32, 10, {"depth": 4})


@pytest.mark.parametrize("name", ["Residual", "Normalised", "Dropped"])
def test_on_the_cpu_company_changes_no_bit_of_a_member(dataset, name):
    configs = varied_configs(5, seeds=(1, 1, 2))
    together = Pack(dataset, own(name), configs)
    together.train_epoch()
    for member in configs:
        alone = Pack(dataset, own(name), [member])
        alone.train_epoch()
        assert_equal_states(together.state(member.trial_id), alone.state(member.trial_id))


@pytest.mark.parametrize("name", ["Residual", "Normalised", "Dropped"])
def test_a_pack_continues_bit_for_bit_from_its_states(dataset, backend, name):
    configs = varied_configs(3)
    pack, resumed = (Pack(dataset, own(name), configs, backend=backend) for _ in range(2))
    pack.train_epoch()
    for member in configs:
        resumed.restore(member.trial_id, pack.state(member.trial_id))
    pack.train_epoch()
    resumed.train_epoch()
    for member in configs:
        assert_equal_states(resumed.state(member.trial_id), pack.state(member.trial_id))


@pytest.mark.parametrize("name", ["Residual", "Dropped"])
def test_building_and_training_leave_the_global_random_state_alone(dataset, name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Pack(dataset, own(name), [config(0)]).train_epoch()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_module:Net", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{MINE}:Nothing", f"cannot be imported: AttributeError: module '{MINE}' has no attribute 'Nothing'"),
        (f"{MINE}:Unbuildable", "cannot be built: ValueError: no such depth"),
        (f"{MINE}:a_number", "built a int; it must build a torch.nn.Module"),
        (f"{MINE}:same_each_time", "returns the same module each time; each trial needs a new one"),
        (f"{MINE}:Empty", "has no parameters to train"),
        (f"{MINE}:Double", "its parameter 'head.weight' is torch.float64; it must be torch.float32"),
        (f"{MINE}:Unseeded", "has initial weights that do not follow from torch.manual_seed, so no trial could be repeated"),
        (f"{MINE}:OtherEachTime", "has other parameters each time it is built; all trials must train one architecture"),
        (f"{MINE}:RandomFeatures", "draws 'mix', which is not trained, anew each time; all trials must share it, or train it"),
        (f"{MINE}:Pooling", "fails on images of shape [3, 3, 32, 32]: RuntimeError: "),
        (
            f"{MINE}:ElevenForAll",
            "must return torch.float32 logits of shape [3, 10] for 3 images, got torch.float32 of shape [3, 11]; let it take n_classes",
        ),
        (f"{MINE}:WithExtras", "must return torch.float32 logits of shape [3, 10] for 3 images, got a tuple"),
        (f"{MINE}:Half", "must return torch.float32 logits of shape [3, 10] for 3 images, got torch.float16 of shape [3, 10]"),
        (f"{MINE}:Detached", "returns logits that autograd cannot follow back to its parameters"),
        (f"{MINE}:DroppingAlways", "draws random numbers in eval mode too; draw them only where self.training is true"),
        (
            f"{MINE}:AddingInDouble",
            "changes its buffer 'total', which is torch.float64; a trial keeps it as torch.float32, so make it that",
        ),
        (
            f"{MINE}:Remembering",
            "gives other logits when it is called again with the same weights, buffers and seed; what it draws or counts",
        ),
        (f"{MINE}:Counting", "changes its buffer 'calls' in eval mode too; change it only where self.training is true"),
        (
            f"{MINE}:Comparing",
            "gives an image other logits in other company: in eval mode it must judge each image of a batch by itself",
        ),
    ],
)
def test_a_model_that_breaks_a_rule_is_refused_with_the_rule(dataset, path, said):
    with pytest.raises(ModelError) as caught:
        Pack(dataset, settings(model=path), [])
    assert str(caught.value).startswith(f"model '{path}': {said}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["Residual", "Branching"])
def test_a_packed_member_learns_on_the_gpu_what_it_learns_on_the_cpu(dataset, name):
    configs = varied_configs(5, seeds=(1, 2), batch_sizes=(64, 50))
    on_cpu, on_gpu = Pack(dataset, own(name), configs), Pack(dataset, own(name), configs, "cuda")
    expected, found = on_cpu.train_epoch(), on_gpu.train_epoch()
    for trial_id, figures in expected.items():
        assert_same_curve(found[trial_id], figures.train_loss, figures.train_accuracy, figures.val_loss, figures.learning_rate)


def test_a_last_batch_of_one_image_fails_a_model_that_cannot_learn_from_it_before_its_first_epoch(dataset):
    way = settings(model="models_of_a_user:NormalisedFeatures")
    single, whole = config(0, batch_size=199), config(1, batch_size=100)  # 200 images are trained on
    result = Pack(dataset, way, [single, whole]).train_epoch()
    assert result[single.trial_id].error == (
        "models_of_a_user:NormalisedFeatures cannot learn from a single image (batch normalisation?), and the last batch of "
        "each epoch is one: 200 images in batches of 199; take another batch_size"
    )
    assert result[whole.trial_id].epoch == 1
    alone = config(2, batch_size=199)
    assert Pack(dataset, settings(model="models_of_a_user:Normalised"), [alone]).train_epoch()[alone.trial_id].epoch == 1


@pytest.mark.parametrize(("given", "width"), [((), 5), ((("width", 7),), 7)])
def test_a_width_without_a_height_is_the_networks_own(dataset, given, width):
    net = build_model(Architecture("models_of_a_user:Widened", given), dataset)
    assert net.shapes["layers.0.weight"] == (width, 3)
    assert dict(net.arguments) == {"n_classes": 10, **dict(given)}
