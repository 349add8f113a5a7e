"""What is told of the command elsewhere is what --help tells: its page, what shells complete."""

import pathlib
import re
import shutil
import subprocess

from stage import PATIENCE_S, Skip
import terminal

SOURCES = pathlib.Path(__file__).resolve().parents[3] / "tools/canopy"
COMPLETIONS = SOURCES / "completions"


def told_by_help(stage):
    """The long options and the commands, each with the words that it takes as they are."""
    text = stage.run("--help").stdout
    options = re.findall(r"^ +(?:-.,)? +--(\w+)", text, re.MULTILINE)
    commands = re.findall(r"^(?:Usage|  or): +canopy \[OPTION\.\.\.\] (\w+)(.*)$", text, re.MULTILINE)
    assert len(options) == 9 and len(commands) == 9, text
    return options, {name: set(re.findall(r"\b[a-z]+\b", words)) for name, words in commands}


def test_the_page_tells_of_all_that_there_is(stage):
    options, commands = told_by_help(stage)
    page = (SOURCES / "canopy.1").read_text()
    for option in options:
        assert re.search(rf"^\.It .*Fl -{option}\b", page, re.MULTILINE), option
    for command, words in commands.items():
        item = re.search(rf"^\.It Cm {command}\b(.*)$", page, re.MULTILINE)
        assert item and words <= set(re.findall(r"\w+", item[1])), (command, words)


def test_the_page_shows_without_a_warning(stage):
    if not shutil.which("mandoc"):
        raise Skip("there is no mandoc")
    del stage
    done = subprocess.run(["mandoc", "-T", "ascii", "-W", "warning", SOURCES / "canopy.1"],
                          capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0 and done.stderr == "" and "canopy_listen(3)" in done.stdout, done


def bash(words):
    """What bash has for the last of these words, by the function that `complete` names."""
    script = ('source "$0"; [[ $(complete -p canopy) == *"-F _canopy canopy" ]] || exit 9; '
              'COMP_WORDS=(canopy "$@"); COMP_CWORD=$#; _canopy; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "--norc", "-c", script, COMPLETIONS / "canopy.bash", *words],
                          capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0 and done.stderr == "", done
    return set(done.stdout.split())


def test_bash_completes_all_that_there_is(stage):
    options, commands = told_by_help(stage)
    assert bash(["--"]) == {f"--{option}" for option in options}
    for before in ([], ["-s", "/x"], ["--socket", "=", "/x"], ["--once"], ["-i", "1s", "-t", "2"]):
        assert bash([*before, ""]) == set(commands), before
        assert bash([*before, "d"]) == {"dump"}, before
    for command, words in commands.items():
        behind = bash([command, ""]) | bash([command, "5", ""])
        assert words <= behind, (command, words, behind)
    assert bash(["tree", ""]) == bash(["dump", "text", ""]) == bash(["cancel", "5", ""]) == set()


def test_bash_completes_what_is_outside(stage):
    process = stage.process()
    assert bash(["-s", process.path[:-3]]) == {process.path}
    assert bash(["--socket", "=", process.path[:-3]]) == {process.path}
    assert str(process.child.pid) in bash(["-p", str(process.child.pid)[:1]])
    assert str(process.child.pid) in bash(["--pid", "="])
    assert bash(["--timeout", "="]) == set()


def on_a_terminal(stage, shell, *commands):
    """A shell of its own, after these commands."""
    if not shutil.which(shell[0]):
        raise Skip(f"there is no {shell[0]}")
    seen = terminal.Terminal(shell, 24, 80, {**stage.environment, "PS1": "> "}, PATIENCE_S)
    stage.stack.callback(seen.close)
    for command in commands:
        seen.type(f"{command}\n")
    seen.type("echo rea''dy\n")
    seen.until_shown("ready")
    return seen


def test_a_tab_in_bash_completes(stage):
    seen = on_a_terminal(stage, ["bash", "--norc", "-i"], f"source {COMPLETIONS}/canopy.bash")
    seen.type("canopy du\tht\t")
    seen.until_shown("canopy dump html")


def test_a_tab_in_zsh_completes(stage):
    shutil.copy(COMPLETIONS / "canopy.zsh", stage.path("_canopy"))
    seen = on_a_terminal(stage, ["zsh", "-f", "-i"], f"fpath=({stage.directory} $fpath)",
                         "autoload -Uz compinit; compinit -u -D")
    seen.type("canopy -s /x du\tht\t")
    seen.until_shown("canopy -s /x dump html")
    seen.type("\x15canopy --on\t")
    seen.until_shown("canopy --once")


def test_fish_completes_all_that_there_is(stage):
    if not shutil.which("fish"):
        raise Skip("there is no fish")
    options, commands = told_by_help(stage)

    def fish(typed):
        script = f"source {COMPLETIONS}/canopy.fish; complete -C '{typed}'"
        done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True,
                              env=stage.environment, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0 and done.stderr == "", done
        return {line.split("\t")[0] for line in done.stdout.splitlines()}

    assert fish("canopy ") == set(commands)
    assert {f"--{option}" for option in options} <= fish("canopy --")
    for command, words in commands.items():
        assert words <= fish(f"canopy {command} "), command


def test_zsh_reads_its_completion(stage):
    if not shutil.which("zsh"):
        raise Skip("there is no zsh")
    options, commands = told_by_help(stage)
    done = subprocess.run(["zsh", "-n", COMPLETIONS / "canopy.zsh"], capture_output=True,
                          check=False, timeout=PATIENCE_S)
    assert done.returncode == 0 and done.stderr == b"", done
    text = (COMPLETIONS / "canopy.zsh").read_text()
    assert all(f"--{option}" in text for option in options)
    assert all(f"'{command}:" in text for command in commands)
