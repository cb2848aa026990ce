"""One network of a finished sweep to be used elsewhere: its configuration, its weights, and the lines of Python that load them."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sweeper.custom_code import is_import_path
from sweeper.errors import StoreError, SweeperError
from sweeper.metrics import best_of
from sweeper.records import Network, Phase, TrialState, Value
from sweeper.report.measure import find_measure
from sweeper.report.reading import StoredSweep, read_sweep
from sweeper.report.search import final_values, summarize_arms
from sweeper.space import Space, dump_space
from sweeper.space.dump import LINE_WIDTH, PlainDumper
from sweeper.store import Folder, KeptWeights, SweepFolder, file_name
from sweeper.store.trust import space_to_run
from sweeper.text import nearest, printable, shown
from sweeper.training.model import ConvNet
from sweeper.view.find import find_trial
from sweeper.view.status import sweep_status

if TYPE_CHECKING:
    from torch import nn

CONFIGURATION, WEIGHTS, PROGRAM = "configuration.yaml", "weights.safetensors", "load.py"

BUILD_IT = "build the network as your training loop does; it takes model.load_state_dict(safetensors.torch.load_file(the weights))"
"""Of a network that only the user's own code knows how to build."""


class ExportError(SweeperError):
    """What cannot be exported: an arm that there is not, a sweep that has not ended, a trial of another arm."""


class NoWeightsError(ExportError):
    """A network whose weights were not kept."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A trial of an arm, and in words why this one. ``space``: what was run, as YAML that trains this configuration alone."""

    sweep: str
    arm: str
    trial: str
    why: str
    parameters: Mapping[str, Value]
    space: str


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and where. ``no_weights``: why there are none, and how to get some; ``None`` where there are."""

    choice: Choice
    folder: str
    files: tuple[str, ...]
    no_weights: str | None


def export(folder: SweepFolder, arm: str | None, trial: str | None, to: str | None) -> Export:
    """Write the best configuration of an arm, the weights of its confirm trial that is best on validation, and what loads them.

    ``trial``: take this one of the arm instead. ``to``: a folder that is made; by default ``<sweep>-<arm>`` here.

    Raises:
        LookError, ExportError: if there is no such trial or arm, or the sweep has not ended.
        StoreError: if the target is there already, or something cannot be read or written.
    """
    choice = choose(folder, arm, trial)
    target = Path(to or file_name(f"{folder.id}-{choice.arm}"))
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target}: already exists; give another folder as --to DIR")
    kept = folder.read_weights(choice.trial) if folder.has_weights(choice.trial) else None
    files: dict[str, bytes] = {CONFIGURATION: choice.space.encode()}
    if kept is not None:
        files[WEIGHTS] = kept.content
        if kept.network.model:  # else the user's loop alone can build it
            files[PROGRAM] = program(choice, kept.network).encode()
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"{target}: cannot make this folder: {error.strerror}") from error
    for name, content in files.items():
        Folder(str(target)).write(name, content)
    without = _no_weights(folder, choice.trial) if kept is None else None
    return Export(choice, str(target), tuple(files), without)


def choose(folder: SweepFolder, arm: str | None, trial: str | None) -> Choice:
    """The trial of an arm whose network is worth having, by figures on validation alone.

    Raises:
        LookError, ExportError: as :func:`export`.
    """
    stored = read_sweep(folder)
    if stored.space is None:
        raise ExportError(f"{folder}: {stored.problems[0]}")
    if trial is not None:
        return _named(stored, arm, find_trial(trial, stored.trials["trial"], folder))
    arm = _arm(stored, arm)
    state = sweep_status(folder).state
    if state != "finished":
        way_out = "wait for it" if state == "running" else f"go on with: sweep resume {folder}"
        raise ExportError(f"{folder}: is {state}, so what is best of {arm} is not known yet; {way_out}, or name a --trial that has ended")
    return _best(stored, stored.space, arm)


def _arm(stored: StoredSweep, arm: str | None) -> str:
    if arm is None and len(stored.arms) == 1:
        return stored.arms[0]
    if arm is None:
        raise ExportError(f"{stored.folder}: --arm: name one of its arms: {', '.join(map(printable, stored.arms))}")
    if arm not in stored.arms:
        raise ExportError(f"{stored.folder}: no arm {shown(arm)}; {nearest(arm, stored.arms)}")
    return arm


def _named(stored: StoredSweep, arm: str | None, trial: str) -> Choice:
    row = stored.trials[stored.trials["trial"] == trial].iloc[-1]
    if arm is not None and row["arm"] != _arm(stored, arm):
        raise ExportError(f"{stored.folder}: trial {trial} is of arm {row['arm']}, not of {arm}")
    if row["state"] != str(TrialState.COMPLETE):
        raise ExportError(
            f"{stored.folder}: trial {trial} is {row['state']}, and no network came out of it; `sweep show` names complete ones"
        )
    return _chosen(stored, trial, "the trial that was asked for")


def _best(stored: StoredSweep, space: Space, arm: str) -> Choice:
    """The confirm trial that is best on validation, of the pick that is best on validation; without one, that pick."""
    measure = find_measure(space.search.metric)
    summary = next(each for each in summarize_arms(stored, measure) if each.arm == arm)
    pick = summary.best
    if pick is None:
        raise ExportError(f"{stored.folder}: no search trial of {arm} is complete: there is no configuration to export")
    of = "" if len(summary.searches) == 1 else f" of its {len(summary.searches)} searches"
    why = f"the pick{of} with the best validation {measure.label}"
    rows = stored.rows(Phase.CONFIRM, arm, pick.search)
    rows = rows[rows["state"] == str(TrialState.COMPLETE)]
    figures = dict(zip(rows["trial"], final_values(stored, rows, measure), strict=True))
    best = best_of(measure.val_column, figures, figures.__getitem__)
    if best is None:
        return _chosen(stored, pick.trial, why)
    why = f"its configuration is that of {pick.trial}, {why}"
    if space.dataset.validation == "test":
        best, of = next(iter(figures)), "which is the first confirm trial: this sweep measures on the test split, which chooses no network"
    else:
        of = f"and of {len(figures)} confirm trials it is the best on validation" if len(figures) > 1 else "and it is the confirm trial"
    return _chosen(stored, str(best), f"{why}, {of}")


def _chosen(stored: StoredSweep, trial: str, why: str) -> Choice:
    row = stored.trials[stored.trials["trial"] == trial].iloc[-1]
    parameters = stored.parameters_of(row)
    told = f"The configuration of {trial} of sweep {stored.folder.id}: {why}. This file trains it alone, on fresh seeds."
    return Choice(stored.folder.id, str(row["arm"]), trial, why, parameters, f"{_commented(told)}\n\n{_alone(stored, parameters)}")


def _alone(stored: StoredSweep, parameters: Mapping[str, Value]) -> str:
    """A space that trains one configuration of another on fresh seeds and keeps the weights."""
    sections: dict[str, Any] = yaml.safe_load(dump_space(stored.space))  # type: ignore[arg-type]
    training = {name: value for name, value in sections["training"].items() if name not in parameters}
    alone = {
        **sections,
        "training": {**training, "keep": "weights"},
        "parameters": dict(parameters),
        "compare": {"seeds": max(1, sections["compare"]["seeds"])},
        "search": {"metric": sections["search"]["metric"]},
    }
    return yaml.dump(alone, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH, default_flow_style=None)


def _no_weights(folder: SweepFolder, trial: str) -> str:
    """That there are none, and what makes them."""
    again = f"sweep reproduce {shlex.quote(str(folder))} {shlex.quote(trial)} --keep-weights"
    return f"the weights of {trial} were not kept (`training.keep: weights` keeps those of confirm trials); train it again: {again}"


def load(folder: SweepFolder, arm: str | None, trial: str | None, *, custom_code: bool | None = None) -> nn.Module:
    """The network that :func:`export` writes, in evaluation mode; ``custom_code``: see :func:`sweeper.store.trust.space_to_run`.

    Raises:
        NoWeightsError: if its weights were not kept.
        SweeperError: as :func:`export`, and where code of the user's own may not be run.
    """
    choice = choose(folder, arm, trial)
    if not folder.has_weights(choice.trial):
        raise NoWeightsError(f"{folder}: {_no_weights(folder, choice.trial)}")
    kept = folder.read_weights(choice.trial)
    if not kept.network.model:
        raise ExportError(f"{folder}: {choice.trial}: {BUILD_IT}")
    if is_import_path(kept.network.model) and kept.network.model not in space_to_run(folder, custom_code).custom_code:
        raise ExportError(f"{folder}: the weights of {choice.trial} are of a model that its space does not name: {kept.network.model}")
    return _loaded(kept)


def _loaded(kept: KeptWeights) -> nn.Module:
    import torch

    from sweeper.training.build_model import build_module

    module = build_module(kept.network)
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in kept.tensors.items()})
    return module.eval()


def program(choice: Choice, network: Network) -> str:
    """Python that loads the weights beside it and classifies images; plain PyTorch, but for a model of the user's own."""
    height, width = map(int, network.image_size)
    imports, builds = _own(network) if is_import_path(network.model) else _convnet(network)
    return f'''\
{_commented(f"The network of {choice.trial} of sweep {choice.sweep}, for images of {height} x {width} pixels: {choice.why}.")}
{imports}
CLASSES = {list(network.classes)!r}
MEAN, STD = (torch.tensor(each).view(3, 1, 1) for each in ({tuple(network.mean)!r}, {tuple(network.std)!r}))

{builds}
model.load_state_dict(load_file(Path(__file__).with_name("{WEIGHTS}")))
model.eval()


@torch.no_grad()
def logits(images):
    """Raw logits (batch, {len(network.classes)}) of RGB images (batch, 3, {height}, {width}) of bytes from 0 to 255."""
    return model((images.float() / 255 - MEAN) / STD)


def classify(images):
    """Name of the class of each image."""
    return [CLASSES[index] for index in logits(images).argmax(1)]
'''


def _own(network: Network) -> tuple[str, str]:
    module, _, name = network.model.partition(":")
    if not all(map(str.isidentifier, network.arguments)):
        raise ExportError(f"the file of the weights has arguments of {network.model} that cannot be any: {', '.join(network.arguments)}")
    imports = (
        "import sys\nfrom pathlib import Path\n\nimport torch\nfrom safetensors.torch import load_file\n\n"
        f'sys.path.insert(0, "")  # run this where {module} can be imported\nfrom {module} import {name}\n'
    )
    return imports, f"model = {name}({', '.join(f'{key}={value!r}' for key, value in network.arguments.items())})"


def _convnet(network: Network) -> tuple[str, str]:
    imports = (
        "from collections import OrderedDict\nfrom pathlib import Path\n\nimport torch\nfrom safetensors.torch import load_file\n"
        "from torch import nn\n"
    )
    layers = ConvNet(**network.arguments).layers  # type: ignore[arg-type]
    written = "".join(f"    {name}=nn.{kind}({', '.join(map(str, sizes))}),\n" for name, (kind, sizes) in layers.items())
    return imports, f"model = nn.Sequential(OrderedDict(\n{written}))"


def _commented(text: str) -> str:
    """Text as a comment of Python or YAML, without anything that could end it."""
    return "\n".join(f"# {line}" for line in textwrap.wrap(printable(text), LINE_WIDTH - 2))


def export_text(found: Export) -> str:
    """What was exported, for a person."""
    lines = [f"{found.choice.trial} of {found.choice.arm}: {found.choice.why}"]
    lines += [f"  {Path(found.folder) / name}" for name in found.files]
    if WEIGHTS in found.files and PROGRAM not in found.files:
        lines.append(BUILD_IT)
    return "\n".join(lines)
