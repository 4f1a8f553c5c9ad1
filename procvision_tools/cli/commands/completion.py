"""`procvision completion`: the script by which a shell completes this command."""

from __future__ import annotations

import click

from procvision_tools.cli import exits

SHELLS = ("bash", "fish", "zsh")


@click.command(epilog=exits.EPILOG, short_help="Print a shell's script that completes commands and names.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print the script that completes commands, options, files, and the names and parameters of installed algorithms.

    \b
    Examples:
      procvision completion bash > ~/.local/share/bash-completion/completions/procvision
      procvision completion fish > ~/.config/fish/completions/procvision.fish
      procvision completion zsh > ~/.zfunc/_procvision
    """
    from click.shell_completion import get_completion_class

    from procvision_tools.cli.completion_scripts import register
    from procvision_tools.cli.main import COMPLETE_VARIABLE, cli

    register()
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "procvision", COMPLETE_VARIABLE).source())
    return exits.OK
