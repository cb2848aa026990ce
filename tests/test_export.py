"""A network taken out of a finished sweep: chosen by validation, and the same wherever it is loaded."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from click.testing import CliRunner
from faults.kill_harness import finish, start, strike, wait_until_gone
from finished_sweep import SPACE, sweep

import sweeper
from sweeper.cli import cli
from sweeper.cli.completion import complete_arm
from sweeper.errors import SweeperError
from sweeper.export import Choice, ExportError, NoWeightsError, program
from sweeper.preflight import load_data
from sweeper.records import Network
from sweeper.space import load_space
from sweeper.store import SweepFolder
from sweeper.store.trust import CustomCodeError
from sweeper.training.augment import normalised_levels
from sweeper.training.gpu.grouped import DeviceCut
from sweeper.training.packs import Packs, as_arrays
from sweeper.view.trial import view_trial

TESTS = Path(__file__).parent
OF_A_USER = """
name: own
dataset: {name: synthetic, train_images: 300, test_images: 200, validation: 100}
training: {epochs: 2, batch_size: 50, model: "models_to_export:Scaled", keep: weights}
parameters: {loss: cross_entropy, learning_rate: 0.05, hidden: {choices: [24, 40]}}
compare: {arms: hidden, searches: 1, trials_per_arm: 1, seeds: 2}
search: {pruner: none}
"""


def run(folder, text):
    (folder / "space.yaml").write_text(text)
    done = sweep("run", "space.yaml", cwd=folder, env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}"})
    assert done.returncode == 0, done.stderr
    (found,) = (folder / "results").iterdir()
    return found, done


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A sweep of two arms that has kept the weights of its four confirm trials, and what was said while it ran."""
    return run(tmp_path_factory.mktemp("kept"), SPACE.replace("batch_size: 50", "batch_size: 50, keep: weights"))


@pytest.fixture(scope="module")
def of_a_user(tmp_path_factory):
    """One of a model of the user's own, whose arms differ in an argument of the model."""
    return run(tmp_path_factory.mktemp("own"), OF_A_USER)[0]


@pytest.fixture
def export(tmp_path, monkeypatch):
    """A function that runs ``sweep export`` in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        done = CliRunner().invoke(cli, ["export", *map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return command


def images_of(folder):
    space = sweeper.open(folder).space
    return load_data(space, None), space


def logits_of_load_py(folder, images):
    """What ``load.py`` in a fresh process, without sweeper, makes of images in batches of 128, and the classes it names."""
    np.save(folder.parent / "images.npy", images)
    code = (
        "import json, sys, numpy as np, torch; torch.set_num_threads(1)\n"
        f"sys.path.insert(0, {str(folder)!r}); import load\n"
        "images = torch.from_numpy(np.load('images.npy')).permute(0, 3, 1, 2).contiguous()\n"
        "np.save('logits.npy', torch.cat([load.logits(part) for part in images.split(128)]).numpy())\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'sweeper']\n"
        "print(json.dumps(load.classify(images[:5])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder.parent / "logits.npy"), json.loads(done.stdout)


def stored_logits(folder, trial):
    frame = sweeper.open(folder).predictions()
    return frame[(frame["trial"] == trial) & (frame["split"] == "test")].filter(like="logit_").to_numpy(np.float32)


def trained_again(folder, trial):
    """Logits in float32 of a trial trained again, as :meth:`Packs.predict` gives them."""
    dataset, space = images_of(folder)
    torch.set_num_threads(1)
    view = view_trial(SweepFolder(str(folder)), trial)
    whole = {name: int(value) if name in ("batch_size", "step_size") else value for name, value in view.parameters.items()}
    pack = Packs(dataset, space.training_settings(), [replace(view.config, parameters=whole)], "cpu")
    for _ in view.curve:
        pack.train_epoch()
    return pack.predict(trial, "test").logits


def test_the_convnet_loaded_in_a_fresh_process_gives_the_logits_that_were_stored(kept, export, tmp_path):
    folder, _ = kept
    code, said, errors = export(folder, "--arm", "focal", "--to", "model")
    assert (code, errors) == (0, "")
    trial = said.partition(" ")[0]
    assert said.splitlines()[1:] == ["  model/configuration.yaml", "  model/weights.safetensors", "  model/load.py"]
    logits, classes = logits_of_load_py(tmp_path / "model", images_of(folder)[0].test_images)
    stored, scale = stored_logits(folder, trial), np.abs(logits).max()
    assert np.abs(logits - stored).max() <= 2**-11 * scale  # of float16
    assert np.abs(logits - trained_again(folder, trial)).max() <= 2e-6 * scale  # sums in another order
    assert classes == [images_of(folder)[0].classes[index] for index in stored[:5].argmax(1)]


def test_a_model_of_the_users_own_is_built_with_its_arguments_and_gives_the_logits_that_were_stored(
    of_a_user, export, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(TESTS))
    code, said, errors = export(of_a_user, "--arm", "40", "--to", "model")
    assert (code, errors) == (0, "")
    assert "model = Scaled(num_classes=10, height=32, width=32, hidden=40)\n" in (tmp_path / "model" / "load.py").read_text()
    dataset, trial = images_of(of_a_user)[0], said.partition(" ")[0]
    logits, _ = logits_of_load_py(tmp_path / "model", dataset.test_images)
    assert np.abs(logits - stored_logits(of_a_user, trial)).max() <= 2**-11 * np.abs(logits).max()
    predicted = trained_again(of_a_user, trial)
    assert np.abs(logits - predicted).max() <= 2e-6 * np.abs(logits).max()
    module = sweeper.open(of_a_user).model("40")
    cut = DeviceCut(normalised_levels(dataset.mean, dataset.std), torch.device("cpu")).cut
    with torch.no_grad():  # of images that are normalised by the same sums the logits are the same to the last bit
        parts = [cut(torch.tensor(dataset.test_images), part[None], None, None)[0].contiguous() for part in torch.arange(200).split(128)]
        assert np.array_equal(torch.cat([module(part) for part in parts]).numpy(), predicted)


def test_python_gives_the_same_network_in_evaluation_mode(kept, export, tmp_path):
    folder, _ = kept
    export(folder, "--trial", "focal-confirm-1", "--to", "model")
    module = sweeper.open(folder).model(trial="focal-confirm-1")
    assert not module.training
    assert [name for name, _ in module.named_children()][:3] == ["conv1", "relu1", "pool1"]
    dataset, _ = images_of(folder)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (dataset.mean, dataset.std))
    torch.set_num_threads(1)
    with torch.no_grad():
        logits = module((torch.tensor(dataset.test_images).permute(0, 3, 1, 2).contiguous() / 255 - mean) / std)
    assert np.array_equal(logits.numpy(), logits_of_load_py(tmp_path / "model", dataset.test_images)[0])


def test_a_sweep_says_before_it_trains_what_it_will_keep(kept):
    _, done = kept
    lines = done.stderr.splitlines()
    told = lines.index("keeps the weights of 4 confirm trials: about 160 kB")
    assert told < next(number for number, line in enumerate(lines) if line.startswith("sweep tiny-"))


def test_check_and_the_dry_run_say_so_too_and_a_sweep_that_keeps_nothing_says_nothing(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    keeps = (str(path), "--set", "training.keep=weights", "--set", "compare.seeds=8")
    for command in (("check",), ("run", "--dry-run")):
        assert "keeps the weights of 16 confirm trials: about 639 kB\n" in CliRunner().invoke(cli, [*command, *keeps]).stderr
    assert "keeps the weights" not in CliRunner().invoke(cli, ["check", str(path)]).stderr


def test_the_file_that_is_kept_is_as_large_as_was_said(kept):
    folder, _ = kept
    sizes = [path.stat().st_size for path in (folder / "weights").iterdir()]
    assert len(sizes) == 4
    assert sum(sizes) == pytest.approx(160e3, rel=0.05)


def test_the_exported_configuration_is_a_space_that_trains_it_alone_on_fresh_seeds(kept, export, tmp_path):
    folder, _ = kept
    export(folder, "--arm", "focal", "--to", "model")
    path = tmp_path / "model" / "configuration.yaml"
    assert path.read_text().startswith("# The configuration of focal-confirm-")
    space, pick = load_space(str(path)), view_trial(SweepFolder(str(folder)), "focal-0")
    (arm,) = space.arms
    constants = {each.name: each.parameter.values[0] for each in space.definitions(arm)}
    assert constants == pick.parameters
    assert (space.is_tuned, space.compare.searches, space.compare.seeds, space.training.keep) == (False, 1, 2, "weights")
    assert space.dataset == sweeper.open(folder).space.dataset


@pytest.fixture
def altered(kept, tmp_path):
    """A copy of the sweep, and a function that changes its table of trials."""
    folder = shutil.copytree(kept[0], tmp_path / "results" / kept[0].name)

    def alter(change):
        (path,) = (folder / "trials").glob("*.parquet")
        stored = pq.read_table(path)
        frame = change(stored.to_pandas().set_index("trial", drop=False))
        table = pa.Table.from_pandas(frame, schema=stored.schema, preserve_index=False)
        pq.write_table(table.replace_schema_metadata(stored.schema.metadata), path)
        return folder

    return alter


def with_figures(**by_trial):
    """Validation and test accuracies of trials, where nothing else speaks for one."""

    def change(frame):
        for trial, (validation, test) in by_trial.items():
            columns = ["value", "last_val_accuracy", "test_accuracy"]
            frame.loc[trial.replace("_", "-"), columns] = [validation, validation, test]
        return frame

    return change


def test_validation_chooses_among_confirm_trials_and_the_test_split_never_does(altered, export):
    for best, other in (("focal-confirm-0", "focal-confirm-1"), ("focal-confirm-1", "focal-confirm-0")):
        folder = altered(with_figures(**{best.replace("-", "_"): (0.9, 0.1), other.replace("-", "_"): (0.1, 0.9)}))
        code, said, _ = export(folder, "--arm", "focal", "--to", best)
        assert code == 0
        assert said.splitlines()[0] == (
            f"{best} of focal: its configuration is that of focal-0, the pick with the best validation accuracy, "
            "and of 2 confirm trials it is the best on validation"
        )


def test_where_each_epoch_is_measured_on_the_test_split_the_first_confirm_trial_is_taken(altered, export):
    folder = altered(with_figures(focal_confirm_0=(0.1, 0.1), focal_confirm_1=(0.9, 0.9)))
    space = folder / "sweep.yaml"
    space.write_text(space.read_text().replace("validation: 100", "validation: test"))
    _, said, _ = export(folder, "--arm", "focal")
    assert said.startswith("focal-confirm-0 of focal: ")
    assert "the first confirm trial: this sweep measures on the test split, which chooses no network" in said


def test_of_a_sweep_that_kept_nothing_comes_the_configuration_and_the_way_to_the_weights(finished_sweep, export, tmp_path):
    folder = shutil.copytree(finished_sweep.path, tmp_path / "results" / finished_sweep.id)
    code, said, errors = export(folder, "--arm", "cross_entropy")
    written, trial = f"{finished_sweep.id}-cross_entropy", said.partition(" ")[0]
    assert code == 1
    assert said.splitlines()[1:] == [f"  {written}/configuration.yaml"]
    assert [path.name for path in (tmp_path / written).iterdir()] == ["configuration.yaml"]
    way_out = f"sweep reproduce {folder} {trial} --keep-weights"
    assert errors == (
        f"the weights of {trial} were not kept (`training.keep: weights` keeps those of confirm trials); train it again: {way_out}\n"
    )
    with pytest.raises(NoWeightsError, match=rf"the weights of {trial} were not kept"):
        sweeper.open(folder).model("cross_entropy")
    assert CliRunner().invoke(cli, way_out.split()[1:]).exit_code == 0
    assert export(folder, "--arm", "cross_entropy", "--to", "model")[0] == 0
    logits, _ = logits_of_load_py(tmp_path / "model", images_of(folder)[0].test_images)
    assert np.abs(logits - stored_logits(folder, trial)).max() <= 2**-11 * np.abs(logits).max()


def test_without_a_confirm_phase_the_pick_is_exported_and_no_weights(altered, export):
    folder = altered(lambda frame: frame[frame["phase"] == "search"])
    space = folder / "sweep.yaml"
    space.write_text(space.read_text().replace("seeds: 2", "seeds: 0"))
    code, said, errors = export(folder, "--arm", "focal")
    assert code == 1
    assert said.startswith("focal-0 of focal: the pick with the best validation accuracy\n")
    assert errors.startswith("the weights of focal-0 were not kept (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--arm", "focl"), "no arm 'focl'; did you mean 'focal'?"),
        ((), "--arm: name one of its arms: cross_entropy, focal"),
        (("--trial", "focal-confirm-7"), "no trial 'focal-confirm-7'; did you mean 'focal-confirm-"),
        (("--trial", "focal-confirm-0", "--arm", "cross_entropy"), "trial focal-confirm-0 is of arm focal, not of cross_entropy"),
        (("--trial", "PRUNED"), "is pruned, and no network came out of it"),
        (("--arm", "focal", "--to", "there"), "there: already exists; give another folder as --to DIR"),
        (("--arm", "focal", "--to", "file/model"), "file/model: cannot make this folder: Not a directory"),
    ],
)
def test_what_cannot_be_exported_is_told_with_the_way_out_and_nothing_is_written(kept, export, tmp_path, arguments, message):
    folder, _ = kept
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    trials = sweeper.open(folder).trials
    pruned = trials.loc[trials["state"] == "pruned", "trial"].iloc[0]
    code, said, errors = export(folder, *(argument.replace("PRUNED", pruned) for argument in arguments))
    assert (code, said) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def test_a_sweep_that_runs_or_was_interrupted_has_no_best_yet_but_trials_that_have_ended(altered, export):
    folder = altered(lambda frame: frame)
    with SweepFolder(str(folder)).lock():
        code, _, errors = export(folder, "--arm", "focal")
    assert code == 2
    assert errors.endswith("is running, so what is best of focal is not known yet; wait for it, or name a --trial that has ended\n")
    space = folder / "sweep.yaml"
    space.write_text(space.read_text().replace("seeds: 2", "seeds: 3"))
    code, _, errors = export(folder, "--arm", "focal")
    assert code == 2
    assert f"is interrupted, so what is best of focal is not known yet; go on with: sweep resume {folder}, or" in errors
    assert export(folder, "--trial", "focal-confirm-0")[0] == 0


def test_damaged_weights_are_refused_and_nothing_is_written(altered, export, tmp_path):
    folder = altered(lambda frame: frame)
    path = folder / "weights" / "focal-confirm-0.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    code, _, errors = export(folder, "--trial", "focal-confirm-0", "--to", "model")
    assert code == 2
    assert "weights/focal-confirm-0.safetensors: damaged, or not written by sweeper: " in errors
    assert not (tmp_path / "model").exists()


def test_a_program_of_this_user_only_imports_a_model_for_which_consent_was_given(of_a_user, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    assert sweeper.open(of_a_user).model("40")(torch.zeros(1, 3, 32, 32)).shape == (1, 10)  # it was begun here
    copy = shutil.copytree(of_a_user, tmp_path / of_a_user.name)
    with pytest.raises(CustomCodeError, match="was not begun here by you"):
        sweeper.open(copy).model("24")
    assert sweeper.open(copy).model("24", custom_code=True).training is False
    store = SweepFolder(str(copy))
    kept = store.read_weights("24-confirm-0")
    store.write_weights(view_trial(store, "24-confirm-0").config, replace(kept.network, model="antigravity:Model"), kept.tensors)
    with pytest.raises(SweeperError, match=r"a model that its space does not name: antigravity:Model"):
        sweeper.open(copy).model(trial="24-confirm-0")


def test_weights_of_a_network_that_only_a_training_loop_can_build_come_without_a_program(altered, export, tmp_path):
    folder = SweepFolder(str(altered(lambda frame: frame)))
    kept = folder.read_weights("focal-confirm-0")
    folder.write_weights(view_trial(folder, "focal-confirm-0").config, replace(kept.network, model="", arguments={}), kept.tensors)
    code, said, _ = export(folder, "--trial", "focal-confirm-0", "--to", "model")
    assert code == 0
    assert said.endswith(
        "model/weights.safetensors\nbuild the network as your training loop does; it takes model.load_state_dict("
        "safetensors.torch.load_file(the weights))\n"
    )
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["configuration.yaml", "weights.safetensors"]
    with pytest.raises(ExportError, match="focal-confirm-0: build the network as your training loop does"):
        sweeper.open(str(folder)).model(trial="focal-confirm-0")


def test_numbers_that_numpy_has_no_type_for_are_kept_as_the_same_numbers():
    arrays = as_arrays({"half": torch.tensor([0.1, -3.0], dtype=torch.bfloat16), "count": torch.tensor(3), "weight": torch.ones(2)})
    assert {name: array.dtype.name for name, array in arrays.items()} == {"half": "float32", "count": "int64", "weight": "float32"}
    assert arrays["half"].tolist() == torch.tensor([0.1, -3.0]).bfloat16().tolist()


def test_names_from_elsewhere_are_text_in_the_program_and_never_run():
    network = Network(
        "convnet", {"height": 32, "width": 32, "n_classes": 2}, [32, 32], ["a'); raise SystemExit('", "b"], [0.5] * 3, [0.2] * 3
    )
    plain, hostile = (
        program(Choice("sweep", arm, f"{arm}-confirm-0", why, {}, ""), network)
        for arm, why in (("focal", "best"), ('"""; raise SystemExit #', "\x0craise SystemExit\n\u2028raise SystemExit"))
    )
    assert ast.dump(ast.parse(hostile)) == ast.dump(ast.parse(plain))
    assert "SystemExit" in hostile


@pytest.mark.one_by_one
@pytest.mark.parametrize("target", ["driver", pytest.param("worker", marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_while_it_keeps_weights_has_whole_files_of_all_confirm_trials_after_its_resume(tmp_path, target):
    (tmp_path / "space.yaml").write_text(
        SPACE.replace("batch_size: 50", "batch_size: 50, keep: weights")
        .replace("seeds: 2", "seeds: 12")
        .replace("trials_per_arm: 4", "trials_per_arm: 2")
    )
    killed = start(["run", str(tmp_path / "space.yaml"), "--results", str(tmp_path / "results")], tmp_path / "log")
    while not list(tmp_path.glob("results/*/weights/*.safetensors")):
        assert killed.process.poll() is None, killed.output
        time.sleep(0.002)
    strike(killed, target, 0)
    finish(killed)
    wait_until_gone(killed)
    (folder,) = (tmp_path / "results").iterdir()
    before = {path.name for path in (folder / "weights").glob("*.safetensors")}
    done = sweep("resume", folder)
    assert done.returncode == 0, done.stderr
    opened = sweeper.open(folder)
    confirmed = opened.trials.query("phase == 'confirm' and state == 'complete'")["trial"]
    assert before <= {f"{trial}.safetensors" for trial in confirmed} == {path.name for path in (folder / "weights").iterdir()}
    assert len(confirmed) == 24
    for trial in confirmed[::5]:
        kept = SweepFolder(str(folder)).read_weights(trial)
        assert opened.reproduce(trial, keep_weights=True).verdict == "equal"
        again = SweepFolder(str(folder)).read_weights(trial)
        assert again.network == kept.network
        assert all(np.array_equal(again.tensors[name], array) for name, array in kept.tensors.items())


def test_arms_and_trials_complete_in_a_shell(kept):
    folder, _ = kept
    context = SimpleNamespace(params={"sweep": str(folder), "results": "nowhere"})
    assert [item.value for item in complete_arm(context, None, "")] == ["cross_entropy", "focal"]
    assert [item.value for item in complete_arm(context, None, "fo")] == ["focal"]
    assert complete_arm(SimpleNamespace(params={"sweep": "none", "results": "nowhere"}), None, "") == []


def test_the_json_names_the_trial_why_it_was_chosen_and_the_files(kept, export):
    code, said, _ = export(kept[0], "--arm", "focal", "--json")
    found = json.loads(said)
    assert code == 0
    assert found["choice"]["trial"].startswith("focal-confirm-")
    assert yaml.safe_load(found["choice"]["space"])["parameters"] == found["choice"]["parameters"]
    assert found["files"] == ["configuration.yaml", "weights.safetensors", "load.py"]
    assert found["no_weights"] is None
