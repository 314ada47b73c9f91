"""Verbs that need no daemon: config, completion, version."""

import click
from click.shell_completion import get_completion_class

import mabeam_p2p
from mabeam_p2p.api import settings
from mabeam_p2p.cli import output
from mabeam_p2p.config import MACHINE_VERSION, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command("show")
@click.option("--origin", is_flag=True, help="Tell where each value comes from.")
@click.option("--config", "file", metavar="FILE", help="Read this file in place of ./mabeam.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(origin: bool, file: str | None, as_json: bool) -> None:
    """Print every setting, as `mabeam up` would take it here."""
    with output.endings():
        loaded = settings.load(file=file)
        if as_json:
            output.json_line(
                {
                    "settings": [
                        {"key": s.key, "value": s.value, "origin": s.origin} for s in loaded.all
                    ]
                }
            )
        elif origin:
            output.table(
                ("KEY", "VALUE", "ORIGIN"), [(s.key, s.value, s.origin) for s in loaded.all]
            )
        else:
            output.table(("KEY", "VALUE"), [(s.key, s.value) for s in loaded.all])


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes `mabeam` in SHELL.

    \b
      eval "$(mabeam completion bash)"
    """
    script = get_completion_class(shell)
    assert script is not None
    root = context.find_root().command
    click.echo(script(root, {}, "mabeam", "_MABEAM_COMPLETE").source())


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def version(as_json: bool) -> None:
    """Print the versions of package, frames and log."""
    if as_json:
        output.json_line(
            {
                "version": mabeam_p2p.__version__,
                "protocol": PROTOCOL_VERSION,
                "protocol_min": PROTOCOL_VERSION_MIN,
                "machine": MACHINE_VERSION,
            }
        )
    else:
        click.echo(
            f"mabeam {mabeam_p2p.__version__} (protocol {PROTOCOL_VERSION}, machine "
            f"{MACHINE_VERSION})"
        )
