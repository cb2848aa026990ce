"""The command ``completion``, and what a shell then offers: space files, sweeps, trials."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from sweeper.cli.output import tell

MOST = 200
"""Names offered at once."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, flags, space files, sweeps and trials in a shell.

    \b
    eval "$(sweep completion bash)"
    eval "$(sweep completion zsh)"
    sweep completion fish | source
    sweep completion bash > ~/.local/share/bash-completion/completions/sweep
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click completes no {shell}")
    tell(found(context.find_root().command, {}, "sweep", "_SWEEP_COMPLETE").source())


def complete_space(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """YAML files in the folder that was typed so far, and in the folders in it."""
    folder, slash, beginning = incomplete.rpartition("/")
    prefix = folder + slash
    try:
        entries = [entry for entry in sorted(Path(prefix or ".").iterdir()) if entry.name.startswith(beginning) and entry.name[0] != "."]
        found = [f"{prefix}{entry.name}" for entry in entries if _is_yaml(entry)]
        for entry in filter(Path.is_dir, entries):
            found += [f"{prefix}{entry.name}/{each.name}" for each in sorted(entry.iterdir()) if _is_yaml(each)]
    except OSError:
        found = []
    return [CompletionItem(name) for name in found[:MOST]] or [CompletionItem(incomplete, type="file")]


def complete_sweep(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Ids of the sweeps below ``--results``, or folders of sweeps below the folder that was typed so far."""
    folder, slash, beginning = incomplete.rpartition("/")
    results = folder + slash if slash else _results(context)
    found = [CompletionItem(folder + slash + name) for name in _sweep_ids(results) if name.startswith(beginning)]
    return found[:MOST] or [CompletionItem(incomplete, type="dir")]


def complete_sweep_or_trial(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As :func:`complete_sweep`, then trials of the newest sweep."""
    return [item for complete in (complete_sweep, complete_trial) for item in complete(context, parameter, incomplete)][:MOST]


def complete_trial(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Trials of the sweep that was named before, or of the newest."""
    from sweeper.errors import SweeperError
    from sweeper.view.find import find_sweep

    try:
        trials = find_sweep(context.params.get("sweep"), _results(context)).read_trials().frame["trial"]
    except SweeperError:
        return []
    return [CompletionItem(name) for name in sorted(trials) if name.startswith(incomplete)][:MOST]


def complete_arm(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Arms of the sweep that was named before, or of the newest."""
    from sweeper.errors import SweeperError
    from sweeper.space import parse_stored_space
    from sweeper.view.find import find_sweep

    try:
        arms = parse_stored_space(find_sweep(context.params.get("sweep"), _results(context)).read_space(), "sweep.yaml").arms
    except SweeperError:
        return []
    return [CompletionItem(arm.name) for arm in arms if arm.name.startswith(incomplete)][:MOST]


def _results(context: click.Context) -> str:
    return str(context.params.get("results") or "results")


def _sweep_ids(results: str) -> list[str]:
    """Ids of the sweeps below a local folder, newest first, without reading any of them."""
    try:
        found = [entry for entry in Path(results).iterdir() if (entry / "sweep.yaml").exists()]
        return [entry.name for entry in sorted(found, key=lambda entry: -entry.stat().st_mtime)]
    except OSError:
        return []


def _is_yaml(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml"} and path.is_file()
