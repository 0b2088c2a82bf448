"""The command ``tops``: a table of subcommands, each imported only when it runs."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from importlib.metadata import version

import click

from tops.errors import TopsError, nearest_names

# name -> (module with ``command``, or with ``main(argv: list[str]) -> int``; one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "bench": ("tops.cli.bench", "measure speed: selection, methods, models, throughput, scaling"),
    "cancel": ("tops.cli.cancel", "stop the Slurm array that works on a store or an experiment"),
    "compare": ("tops.cli.compare", "one method against others: plan, run and report in one command"),
    "compatibility": ("tops.cli.compatibility", "which method runs on which model family"),
    "completion": ("tops.cli.completion", "print the completion script of a shell: bash, zsh or fish"),
    "doctor": ("tops.cli.doctor", "what would run on this machine, and what is missing"),
    "fetch": ("tops.cli.fetch", "stage data sets and checkpoints, for machines without network too"),
    "golden": ("tops.cli.golden", "check the baselines against golden vectors of their authors' code"),
    "import": ("tops.cli.import_", "results of other programs from their logs, as rows marked as imported"),
    "miniature": ("tops.cli.miniature", "the embedded benchmarks and models: build, scores, contact sheets"),
    "paper": ("tops.cli.paper", "audit of the published numbers and their claims"),
    "plan": ("tops.cli.plan", "what an experiment or sweep would run, what is done, what it costs"),
    "report": ("tops.cli.report", "tables, figures and the page of an experiment, from the store alone"),
    "results": ("tops.cli.results", "check a whole result store and name every fault"),
    "run": ("tops.cli.run", "run one cell, a sweep, or an experiment, here or on a cluster"),
    "score": ("tops.cli.score", "score stored answers again, by other rules or by a judge"),
    "site": ("tops.cli.site", "reports of all experiments as one folder, with an index and a leaderboard"),
    "status": ("tops.cli.status", "where the cells of an experiment stand now"),
}


# Package that is not installed -> the extra of this package that installs it.
_HARNESS = ("lmms_eval", "datasets", "hydra", "omegaconf", "pandas", "scipy", "sklearn", "matplotlib", "jinja2", "av")
EXTRAS = {**dict.fromkeys((*_HARNESS, "markupsafe", "decord", "rich"), "harness"), "submitit": "cluster"}
EXTRAS |= {"ray": "ray", "wandb": "tracking"}


class Table(click.Group):
    """Subcommands by name; a module is imported when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a module: its ``command``, or its ``main`` with the words as they are."""
        if cmd_name not in COMMANDS:
            return None
        if ctx.resilient_parsing and cmd_name in ("bench", "golden", "miniature"):
            return click.Command(cmd_name)  # nothing to complete, so nothing is imported
        module = importlib.import_module(COMMANDS[cmd_name][0])
        found = getattr(module, "command", None)
        if isinstance(found, click.Command):
            return found
        words = click.Argument(["argv"], nargs=-1, type=click.UNPROCESSED)
        settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
        return click.Command(
            cmd_name,
            callback=lambda argv: module.main(list(argv)),
            params=[words],
            add_help_option=False,
            context_settings=settings,
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does; the error for an unknown one has the nearest names."""
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"unknown command {args[0]!r}. {nearest_names(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A line per command; no module is imported."""
        formatter.write(usage() + "\n")


def usage() -> str:
    """The text of ``tops --help``."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in sorted(COMMANDS.items()))
    return (
        f"usage: tops COMMAND [KEY=VALUE ...] [--switch ...]\n\ncommands:\n{rows}\n\n"
        "--config-dir FOLDER adds configurations of your own to any command, as ./configs and the variable\n"
        "TOPS_CONFIGS do. `tops COMMAND --help` tells more; `tops --version` names the version."
    )


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"tops {version('tops')}")
        ctx.exit()


table = Table(
    "tops",
    params=[click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version)],
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    callback=lambda: None if click.get_current_context().invoked_subcommand else click.echo(usage()),
)


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status (2 for wrong usage or configuration)."""
    args, folders = _config_folders(sys.argv[1:] if argv is None else argv)
    name = next((word for word in args[:1] if word in COMMANDS), "")
    prefix = f"tops {name}".strip()
    try:
        if folders:
            from tops.settings.folders import add_folder

            for folder in folders:
                add_folder(folder)
        return int(table.main(args, prog_name="tops", standalone_mode=False) or 0)
    except TopsError as error:
        print(f"{prefix}: {error}", file=sys.stderr)
        return 2
    except click.ClickException as error:
        print(f"{prefix}: {_plain(error)}", file=sys.stderr)
        return 2
    except SystemExit as end:  # the argparse parser of the command has printed what is wrong
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 2
    except ModuleNotFoundError as error:
        if (extra := EXTRAS.get((error.name or "").partition(".")[0])) is None:
            raise
        print(
            f"{prefix}: needs {error.name}, which the bare library does not bring; install it with "
            f"`pip install 'tops[{extra}]'`",
            file=sys.stderr,
        )
        return 2
    except (KeyboardInterrupt, click.Abort):
        print(f"\n{prefix}: stopped; nothing complete is lost, the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `tops plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # A path that cannot be read or written, or a full disk; anything else is a fault of tops: traceback.
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(f"{prefix}: {error}; check the path, its permissions and the space left", file=sys.stderr)
        return 2


def _config_folders(words: list[str]) -> tuple[list[str], list[str]]:
    """The words without ``--config-dir FOLDER``, which may stand anywhere, and the named folders."""
    rest, folders, at = [], [], 0
    while at < len(words):
        word, at = words[at], at + 1
        if word.startswith("--config-dir="):
            folders.append(word.partition("=")[2])
        elif word == "--config-dir" and at < len(words):
            folders.append(words[at])
            at += 1
        else:
            rest.append(word)
    return rest, folders


def _plain(error: click.ClickException) -> str:
    """click's message, with the nearest switches for an unknown one."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        known = [name for param in error.ctx.command.get_params(error.ctx) for name in param.opts if name[:1] == "-"]
        return f"unknown option {error.option_name!r}. {nearest_names(error.option_name, known)}"
    return error.format_message()


if __name__ == "__main__":
    sys.exit(main())
