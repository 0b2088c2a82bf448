"""One grammar for every command, its help, and what a shell completes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tops.cli.main import COMMANDS, main
from tops.cli.status import rate_text

TOPS = Path(sys.executable).with_name("tops")


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"bench"}))
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"usage: tops {name}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tops ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["run", "--dri"], "Did you mean '--dry'?"),
        (["doctor", "profle=paper"], "Did you mean 'profile'?"),
        (["doctor", "paper"], "'paper' is not KEY=VALUE; for example: tops doctor"),
        (["score", "benchmark=pope", "benchmark=gqa"], "benchmark is given twice, as 'pope' and 'gqa'"),
        (["fetch"], "what is to be fetched?"),
        (["paper", "audits"], "Did you mean 'audit' or"),
        (["results", "chek"], "write `tops results check`"),
        (["completion", "ksh"], "bash"),
    ],
)
def test_wrong_words_end_with_status_2_and_what_to_write(words, told, capsys):
    assert main(words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (["tops", "st"], ["status"]),
        (["tops", "run", "exp"], ["experiment="]),
        (["tops", "run", "experiment", "=", "table1"], ["table1", "table11", "table12"]),
        (["tops", "run", "method", "=", "fa"], ["fastv"]),
        (["tops", "report", "profile", "="], ["miniature", "paper"]),
        (["tops", "status", "--wa"], ["--watch"]),
    ],
)
def test_bash_completes_commands_keys_and_names(line, wanted):
    """As bash calls it, which cuts words at the sign =."""
    words = " ".join(f"'{word}'" for word in line)
    script = f"""
PATH={TOPS.parent}:$PATH
eval "$(tops completion bash)"
COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}
_tops_completion tops
printf "%s\\n" "${{COMPREPLY[@]}}"
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COMP_")}
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert set(wanted) <= set(found.stdout.split()), found


def test_a_watch_tells_the_rate_and_the_time_left():
    assert "10 cells left; the rate is told after 5 s" in rate_text(0, 0.0, 10)
    assert rate_text(0, 65.0, 10) == "\n10 cells left; none was completed in 1 min 5 s"
    assert rate_text(6, 60.0, 10) == "\n10 cells left; 6.0 cells a minute, about 1 min 40 s left"
