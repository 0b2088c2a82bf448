"""``tops completion``: the script that completes commands, keys and choices in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tops.errors import ConfigurationError, nearest_names

SHELLS = ("bash", "zsh", "fish")
_HELP = """usage: tops completion bash|zsh|fish

  eval "$(tops completion bash)"                                  for this shell; put it into ~/.bashrc to keep it
  eval "$(tops completion zsh)"                                   the same for zsh, in ~/.zshrc
  tops completion fish > ~/.config/fish/completions/tops.fish    for fish
"""


def _run(shell: str) -> int:
    if shell not in SHELLS:
        raise ConfigurationError(f"no completion for {shell!r}. {nearest_names(shell, SHELLS)}")
    chosen = get_completion_class(shell)
    assert chosen is not None
    script = chosen(click.Command("tops"), {}, "tops", "_TOPS_COMPLETE").source()
    print(script.replace("complete -o nosort", "complete -o nosort -o nospace"))  # a key is followed by its value
    return 0


class _Command(click.Command):
    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(_HELP)


command = _Command("completion", callback=_run, params=[click.Argument(["shell"], type=click.Choice(SHELLS))])
