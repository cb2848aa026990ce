"""Commands that plug sweeps into other tools: ``dashboard``, ``schema``, ``completion``."""

from __future__ import annotations

import click

from sweeper.cli.options import explained, say, sweep_argument, tell


@click.command()
@sweep_argument()
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
def dashboard(sweep: str | None, results: str, port: int) -> None:
    """Open a sweep's studies in optuna-dashboard, on this machine only.

    The dashboard reads; what one would change in it is refused, since a running sweep alone writes its studies.

    \b
    pip install optuna-dashboard
    sweep dashboard
    sweep dashboard focal-20260101-120000
    """
    with explained():
        from sweeper.cli.serve_dashboard import serve_dashboard
        from sweeper.view.find import find_sweep

        folder = find_sweep(sweep, results)
        serve_dashboard(folder, port, ready=lambda: say(f"{folder.id} at http://127.0.0.1:{port}/dashboard/ (Ctrl-C ends it)"))


@click.command()
def schema() -> None:
    """Print the JSON Schema of space files, by which editors complete them.

    \b
    sweep schema > schema.json
    """
    import json

    with explained():
        from sweeper.space.json_schema import json_schema

        tell(json.dumps(json_schema(), indent=2))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, flags, space files, sweeps and trials in a shell.

    \b
    eval "$(sweep completion bash)"
    eval "$(sweep completion zsh)"
    sweep completion fish | source
    sweep completion bash > ~/.local/share/bash-completion/completions/sweep
    """
    from click.shell_completion import get_completion_class

    from sweeper.cli import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click completes no {shell}")
    with explained():
        tell(found(cli, {}, "sweep", "_SWEEP_COMPLETE").source())
