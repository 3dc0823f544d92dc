"""The command as a whole: quick, lazy, and its help teaches."""

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import metadata

import click
import pytest
from click.testing import CliRunner

from s4g_gateway.cli.failures import EXTRA_OF, ExitCode
from s4g_gateway.cli.lazy import LazyGroup
from s4g_gateway.cli.root import COMMANDS, s4g


def every_command(group=s4g, path=("s4g",)):
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


TREE = dict(every_command())
TOP = [("s4g",), *TREE]


def test_help_loads_nothing_heavy():
    script = (
        "import sys\n"
        "from s4g_gateway.cli import main\n"
        "sys.argv = ['s4g', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert not loaded & {
        "asyncio",
        "msgspec",
        "structlog",
        "lxml",
        "cbor2",
        "rich",
        "pymodbus",
        "aiomqtt",
        "orjson",
    }
    ours = {name for name in json.loads(done.stderr) if name.startswith("s4g_gateway.")}
    assert ours <= {
        f"s4g_gateway.{name}" for name in ("cli", "cli.root", "cli.lazy", "cli.failures", "errors")
    }


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_the_list_says_the_same_as_the_help(path):
    parent = s4g if len(path) == 2 else TREE[path[:-1]]
    if isinstance(parent, LazyGroup):
        first = (TREE[path].help or "").partition("\n")[0].rstrip(".")
        summary = parent.lazy[path[-1]][1]
        assert summary.rstrip(".").split()[0] == first.split()[0], "the same verb"
        assert len(summary) <= 60
        assert summary.endswith(".")


@pytest.mark.parametrize("path", TOP, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_an_example(path, flag):
    result = CliRunner().invoke(s4g, [*path[1:], flag])
    assert result.exit_code == 0
    assert re.search(
        r"^ +(\S+ .*)?s4g \w", result.output.partition("Usage:")[2].partition("\n")[2], re.MULTILINE
    )


def examples():
    for path, command in [(("s4g",), s4g), *TREE.items()]:
        for line in (command.help or "").splitlines():
            text = line.strip()
            if not text.startswith(("s4g ", "mosquitto_sub")):
                continue
            for part in re.split(r"&&|\||\s>\s|\s{3,}", text):
                if part.strip().startswith("s4g "):
                    yield pytest.param(part.strip(), id=f"{path[-1]}: {part.strip()}")


@pytest.mark.parametrize("line", list(examples()))
def test_examples_name_commands_and_options_that_exist(line, monkeypatch):
    words = shlex.split(line)[1:]
    command, context = s4g, click.Context(s4g, info_name="s4g")
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
        context = click.Context(command, parent=context, info_name=name)
    if command.name == "demo":  # its words are checked by its own tests
        return
    # files in examples need not exist; everything else must be right
    for parameter in command.params:
        if isinstance(parameter.type, click.Path | click.File):
            monkeypatch.setattr(parameter, "type", click.STRING)
    with command.make_context(command.name, words, parent=context):
        pass


def test_unknown_commands_and_options_get_a_hint():
    result = CliRunner().invoke(s4g, ["chek"])
    assert (result.exit_code, "Did you mean 'check'?" in result.output) == (ExitCode.USAGE, True)
    result = CliRunner().invoke(s4g, ["operate", "X/GGIO1.Out", "1", "--prority", "3"])
    assert (result.exit_code, "--priority" in result.output) == (ExitCode.USAGE, True)


def test_every_command_has_its_place_in_the_table():
    assert list(COMMANDS) == s4g.list_commands(click.Context(s4g))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            ModuleNotFoundError("x", name="aiomqtt.client"),
            4,
            "s4g: this needs the package aiomqtt: pip install",
        ),
        (PermissionError(13, "Permission denied", "/etc/x"), 1, "s4g: /etc/x: Permission denied"),
    ],
)
def test_errors_of_the_surroundings_are_one_line(monkeypatch, error, code, line):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr("s4g_gateway.cli.target.socket_of", fail)
    result = CliRunner().invoke(s4g, ["read", "X/GGIO1.Ind"])
    assert result.exit_code == code
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_our_own_bugs_keep_their_traceback(monkeypatch):
    def fail(*_args, **_kwargs):
        raise KeyError("a bug")

    monkeypatch.setattr("s4g_gateway.cli.target.socket_of", fail)
    result = CliRunner().invoke(s4g, ["read", "X/GGIO1.Ind"])
    assert isinstance(result.exception, KeyError)
    missing = CliRunner().invoke(s4g, ["--version"])
    assert missing.output.startswith("s4g, version ")


def test_the_extras_named_in_errors_exist():
    offered = set(metadata("s4g-gateway").get_all("Provides-Extra") or ())
    assert set(EXTRA_OF.values()) <= offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    result = CliRunner().invoke(s4g, ["completion", shell])
    assert result.exit_code == 0
    assert "_S4G_COMPLETE" in result.output


def test_bash_completes_commands(tmp_path):
    script = tmp_path / "s4g.bash"
    script.write_text(CliRunner().invoke(s4g, ["completion", "bash"]).output)
    launcher = tmp_path / "s4g"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m s4g_gateway.cli "$@"\n')
    launcher.chmod(0o755)
    commands = (
        f"PATH={tmp_path}:$PATH; source {script}; COMP_WORDS=(s4g se); COMP_CWORD=1; "
        '_s4g_completion s4g; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["sensorthings", "senml"]
