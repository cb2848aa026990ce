import models_of_a_user
import numpy as np
import pytest
import torch
from plain_pytorch import PlainTrial
from test_engine import assert_equal_states, assert_same_curve, assert_same_weights
from toy_trials import config, settings, varied_configs

from sweeper.errors import ModelError
from sweeper.training.custom_model import CustomModel
from sweeper.training.engine import Pack

MINE = "models_of_a_user"
SOUND = {
    "Residual": lambda: models_of_a_user.Residual(10),
    "mlp": lambda: models_of_a_user.mlp(10, 32, 32),
    "Branching": models_of_a_user.Branching,
    "FrozenFeatures": lambda: models_of_a_user.FrozenFeatures(10),
    "TenForAll": models_of_a_user.TenForAll,
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
        assert_same_weights(pack.state(member.trial_id), alone)
        logits, _ = alone.predict("test")
        np.testing.assert_allclose(pack.predict(member.trial_id, "test").logits, logits, atol=1e-4)


def test_frozen_weights_stay_as_they_are_and_out_of_the_checkpoint(dataset):
    pack = Pack(dataset, own("FrozenFeatures"), [config(0, weight_decay=0.1)])
    pack.train_epoch()
    assert {name for name in pack.state("arm-0") if name.startswith("weights/")} == {"weights/head.weight", "weights/head.bias"}


@pytest.mark.parametrize(("name", "packs"), [("Residual", True), ("mlp", True), ("FrozenFeatures", True), ("Branching", False)])
def test_a_model_is_packed_where_vmap_can_run_it(name, packs):
    assert CustomModel(f"{MINE}:{name}", 32, 32, 10).can_be_packed() is packs


def test_on_the_cpu_company_changes_no_bit_of_a_member(dataset):
    configs = varied_configs(5, seeds=(1, 1, 2))
    together = Pack(dataset, own("Residual"), configs)
    together.train_epoch()
    for member in configs:
        alone = Pack(dataset, own("Residual"), [member])
        alone.train_epoch()
        assert_equal_states(together.state(member.trial_id), alone.state(member.trial_id))


def test_a_pack_continues_bit_for_bit_from_its_states(dataset, backend):
    configs = varied_configs(3)
    pack, resumed = (Pack(dataset, own("Residual"), configs, backend=backend) for _ in range(2))
    pack.train_epoch()
    for member in configs:
        resumed.restore(member.trial_id, pack.state(member.trial_id))
    pack.train_epoch()
    resumed.train_epoch()
    for member in configs:
        assert_equal_states(resumed.state(member.trial_id), pack.state(member.trial_id))


def test_building_and_training_leave_the_global_random_state_alone(dataset):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Pack(dataset, own("Residual"), [config(0)]).train_epoch()
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
        (
            f"{MINE}:Normalised",
            "its layer 'norm' is a BatchNorm2d, which keeps running statistics beside the weights and judges an image by the others",
        ),
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
        (f"{MINE}:Dropping", "draws random numbers when it is called (dropout?), which no trial's seed decides; leave that out"),
        (f"{MINE}:Counting", "changes its buffer 'calls' when it is called; a trial keeps nothing but its weights"),
        (f"{MINE}:Comparing", "gives an image other logits in other company: it must judge each image of a batch by itself"),
        (f"{MINE}:TwoFaced", "gives other logits after .eval() than after .train(); it must do the same in both"),
    ],
)
def test_a_model_that_breaks_a_rule_is_refused_with_the_rule(dataset, path, said):
    with pytest.raises(ModelError) as caught:
        Pack(dataset, settings(model=path), [])
    assert str(caught.value).startswith(f"training.model '{path}': {said}")
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
