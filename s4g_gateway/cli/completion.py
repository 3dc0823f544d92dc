"""``s4g completion``: the script by which a shell completes commands, options and references."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete s4g.

    With it, the shell completes commands, options, files, and references of the running gateway.

    \b
    Examples:
      s4g completion bash > ~/.local/share/bash-completion/completions/s4g
      s4g completion zsh > "${fpath[1]}/_s4g"
      s4g completion fish > ~/.config/fish/completions/s4g.fish
    """
    from click.shell_completion import get_completion_class

    from s4g_gateway.cli.root import s4g

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(kind(s4g, {}, "s4g", "_S4G_COMPLETE").source())
