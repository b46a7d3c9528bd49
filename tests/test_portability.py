"""The main commands on a Python that lacks what only POSIX systems have, as on Windows."""

import json
import subprocess
import sys

from tiny import TINY

WITHOUT_POSIX = """
import json
import signal
import sys

import filelock  # these choose their own code for the platform, which here is POSIX
import psutil

for name in ("fcntl", "grp", "pwd", "readline", "resource", "termios"):
    sys.modules[name] = None  # an ImportError for whoever imports it
for name in ("SIGALRM", "setitimer", "ITIMER_REAL"):
    delattr(signal, name)

from folio import cli

for name in cli.COMMANDS:
    try:
        cli.main([name, "--help"])
    except SystemExit as end:
        if end.code:
            sys.exit(f"{name} --help ends with {end.code}")
for command in json.loads(sys.argv[1]):
    code = cli.main(command)
    if code:
        sys.exit(f"{command[0]} ends with {code}")
"""
ON_CPU = ("--device", "cpu", "--threads", "1", "--compile", "off")


def test_the_main_commands_work_without_posix(text_file, tmp_path):
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"prompt": "a cat", "completion": "a mat"}\n' * 20)
    reward = tmp_path / "reward.py"
    reward.write_text("def score(prompt, completion):\n    return float(len(completion))\n")
    rl = ("--rollouts", "1", "--rollout-size", "4", "--group-size", "2", "--minibatch-size", "4")
    commands = [
        ["--version"],
        ["doctor", *ON_CPU],
        ["pretrain", "--data", text_file, "--run", "base", *TINY, "--block-size", "32"],
        ["sample", "base", "--tokens", "4"],
        ["sft", "base", "--data", chats, "--run", "sft", *ON_CPU, "--epochs", "1"],
        ["grpo", "sft", "--data", chats, "--reward", f"{reward}:score", "--run", "rl", *ON_CPU, *rl,
         "--max-new-tokens", "4", "--validation-prompts", "2"],
        ["chat", "sft", "--tokens", "4"],
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, json.dumps(commands, default=str)],
        input="a cat\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
