"""A reward function in a process of its own, which `folio.runs.reward_worker` runs: whatever it does stays there."""

import os
import subprocess
import sys
import time
import warnings

import psutil
import pytest

from folio.errors import UserError
from folio.rl.functions import CallError, Row
from folio.runs import worker as module
from folio.runs.worker import Worker

ROWS = [Row("a question", text, {}) for text in ("a", "bb", "ccc")]
POSIX = pytest.mark.skipif(os.name == "nt", reason="there is no such thing on Windows")


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return f"{tmp_path / name}:f"

    return write


@pytest.fixture
def start(write):
    """Starts a worker for a file with a function f; `body` is the function's, `top` comes before it."""
    started = []

    def start(body, top="", seconds=20.0):
        started.append(Worker(write(f"{top}\ndef f(prompt, completion):\n    {body}\n"), seconds))
        return started[-1]

    yield start
    for each in started:
        each.close()


def is_gone(pid, seconds=10.0):
    """Whether a process ends within that time."""
    until = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_rewards_are_those_of_the_function_to_the_last_bit(start):
    worker = start("return len(completion) / 3 + 0.1")
    assert list(worker(ROWS)) == [len(row.completion) / 3 + 0.1 for row in ROWS]
    assert list(worker([])) == []
    assert list(worker(ROWS[:1])) == [1 / 3 + 0.1]


@pytest.mark.parametrize("text", ["Zoë 東京", "\ud800 half a pair", "two\nlines\r\n\x00", "x" * 1_000_000])
def test_any_text_arrives_as_it_is(start, text):
    worker = start(f"return prompt == completion == {text!r}" if len(text) < 99 else "return len(completion)")
    assert list(worker([Row(text, text, {})])) == [1.0 if len(text) < 99 else len(text)]


def test_a_function_keeps_what_it_knows_between_calls(start):
    worker = start("calls.append(1); return len(calls)", top="calls = []")
    assert [*worker(ROWS), *worker(ROWS)] == [1, 2, 3, 4, 5, 6]


def test_columns_arrive_by_name(write):
    worker = Worker(
        write("def f(prompt, completion, answer, **others):\n    return len(answer) + len(others)\n"), 20
    )
    assert worker.asks.required == ["answer"]
    columns = worker.asks.choose({"answer": [1, 2], "level": None, "prompt": "x"})
    assert list(worker([Row("x", "y", columns)])) == [3.0]
    worker.close()


def test_files_beside_the_functions_own_are_importable(write, start):
    write("VALUE = 4.0", name="neighbor_of_mine.py")
    assert list(start("return neighbor_of_mine.VALUE", top="import neighbor_of_mine")(ROWS[:1])) == [4.0]


def test_a_worker_starts_without_torch_unless_the_file_imports_it(start):
    assert list(start("return 'torch' in sys.modules", top="import sys")(ROWS[:1])) == [0.0]


def test_sets_have_the_same_order_each_time(write, start, monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    first, second = (start("return hash(completion) % 2**40") for _ in range(2))
    assert list(first(ROWS)) == list(second(ROWS))


ENDS = {
    "an exception": ("raise ValueError('no verb')", "raised ValueError (no verb)"),
    "no Exception": ("raise BaseException('odd')", "raised BaseException (odd)"),
    "Ctrl-C of its own": ("raise KeyboardInterrupt", "raised KeyboardInterrupt ()"),
    "an exception that cannot be read": ("raise Odd", "raised Odd (its message cannot be read)"),
    "sys.exit": ("sys.exit(0)", "raised SystemExit (0)"),
    "os._exit": ("os._exit(0)", "ended its process (exit code 0)"),
    "a fault": ("ctypes.string_at(0)", "ended its process (SIGSEGV)"),
    "abort": ("os.abort()", "ended its process (SIGABRT)"),
    "killed": ("os.kill(os.getpid(), 9)", "ended its process (SIGKILL, perhaps for lack of memory)"),
    "no number": ("return None", "returned NoneType, not a number"),
    "NaN": ("return float('nan')", "returned nan, not a finite number"),
    "memory": ("return len('x' * 2**60)", "raised MemoryError ()"),
    "recursion": ("return f(prompt, completion)", "raised RecursionError (maximum recursion depth exceeded)"),
    "closes all files": ("os.closerange(3, 99); return 1.0", "ended its process (exit code 1)"),
}  # fmt: skip
TOP = """
import ctypes, os, sys
class Odd(Exception):
    def __str__(self): raise ValueError
"""


@POSIX
@pytest.mark.parametrize(("body", "words"), ENDS.values(), ids=ENDS)
def test_whatever_a_function_does_is_told(start, body, words):
    worker = start(f"if completion == 'a': return 1.0\n    {body}", top=TOP)
    rewards = worker(ROWS)
    assert next(rewards) == 1.0
    with pytest.raises(CallError) as caught:
        next(rewards)
    assert str(caught.value) == words
    assert is_gone(worker.process.pid)
    with pytest.raises(CallError):
        list(worker(ROWS))


SLOW = {
    "sleeps": "time.sleep(60)",
    "a loop in C": "sum(range(2 * 10**12))",
    "deaf to exceptions": "\n    while True:\n        try:\n            while True: pass\n        except: pass",
    "writes without end": "\n    while True: print('x' * 1000)",
    "is stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "has an alarm of its own": "signal.alarm(0); sum(range(2 * 10**12))",
}


@POSIX
@pytest.mark.filterwarnings("ignore::folio.errors.FolioWarning")
@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
def test_the_time_limit_holds_whatever_runs(start, body):
    worker = start(body, top="import os, signal, time", seconds=0.2)
    with pytest.raises(CallError, match=r"^took more than 0\.2 seconds$"):
        list(worker(ROWS))
    assert is_gone(worker.process.pid)


def test_the_time_limit_is_for_each_completion(start):
    worker = start("time.sleep(0.1); return 1.0", top="import time", seconds=0.9)
    assert list(worker(ROWS * 4)) == [1.0] * 12


def test_what_waits_for_a_person_gets_nothing(start):
    with pytest.raises(CallError, match="raised EOFError"):
        list(start("return input()")(ROWS))


IMPORTS = {
    "raises": ("raise ValueError('one\\n\\ntwo')", "{file} cannot be imported: ValueError (one two)."),
    "syntax": ("def f(:", "{file} cannot be imported: SyntaxError (invalid syntax (mine.py, line 1))."),
    "no such module": ("import nothing_like_it", "{file} cannot be imported: ModuleNotFoundError (No module named 'nothing_like_it')."),
    "no Exception": ("raise BaseException('odd')", "{file} cannot be imported: BaseException (odd)."),
    "leaves Python": ("raise SystemExit(0)", "{file} cannot be imported: SystemExit (0)."),
    "ends its process": ("import os; os._exit(0)", "{file} cannot be imported: it ended its process (exit code 0)."),
    "hangs": ("while True: pass", "{file} cannot be imported: it took more than 0.5 seconds."),
    "has no such function": ("def g(): ...", "{file} has no function 'f'. It has g."),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), IMPORTS.values(), ids=IMPORTS)
def test_a_file_that_cannot_be_used_is_told(write, monkeypatch, text, words):
    if "while" in text:
        monkeypatch.setattr(module, "IMPORT_SECONDS", 0.5)
    function = write(text)
    with pytest.raises(UserError) as caught:
        Worker(function, 0.1)
    assert str(caught.value) == words.format(file=function[:-2])


def test_a_slow_import_does_not_count_as_a_call(start):
    assert list(start("return 1.0", top="import time; time.sleep(0.5)", seconds=0.3)(ROWS[:1])) == [1.0]


@POSIX
@pytest.mark.parametrize("child", ["return 5.0", "raise ValueError", "os._exit(3)", "time.sleep(60)"])
def test_a_forked_child_answers_nothing(start, child):
    worker = start(f"if os.fork() == 0: {child}\n    return len(completion)", top="import os, time")
    assert [*worker(ROWS), *worker(ROWS)] == [1.0, 2.0, 3.0] * 2


@POSIX
def test_what_a_function_started_ends_with_it(start, tmp_path):
    top = f"import os, pathlib, subprocess, sys, time\nfile = pathlib.Path({str(tmp_path / 'pids')!r})"
    body = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    forked = os.fork() or (time.sleep(600), os._exit(0))
    file.write_text(f"{child.pid} {forked}")
    return 1.0"""
    worker = start(body, top)
    assert list(worker(ROWS[:1])) == [1.0]
    worker.close()
    assert all(is_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_what_is_printed_is_shown_once_and_disturbs_nothing(start):
    body = (
        "print('said', completion); os.write(1, b'raw'); os.system('echo from afar'); return len(completion)"
    )
    worker = start(body, top="import os")
    told = []
    until = time.monotonic() + 20
    while not told and time.monotonic() < until:  # it comes on another way than the rewards
        with warnings.catch_warnings(record=True, action="always") as told:
            assert list(worker(ROWS)) == [1.0, 2.0, 3.0]
    assert [list(worker(ROWS)) for _ in range(3)] == [[1.0, 2.0, 3.0]] * 3
    assert len(told) == 1
    assert "mine.py:f writes to the screen, which is not shown after this line: " in str(told[0].message)


@POSIX
def test_a_worker_has_no_file_of_the_run(start, tmp_path):
    with (tmp_path / "lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        body = f"\n    try: return os.path.samestat(os.fstat({file.fileno()}), os.stat({file.name!r}))\n    except OSError: return 0"
        worker = start(body, top="import os")
        assert list(worker(ROWS[:1])) == [0.0]


def test_what_a_function_has_written_to_a_file_is_kept_at_the_end(start, tmp_path):
    worker = start("log.write(completion); return 1.0", top=f"log = open({str(tmp_path / 'log')!r}, 'w')")
    assert list(worker(ROWS)) == [1.0] * 3
    worker.close()
    assert (tmp_path / "log").read_text() == "abbccc"


def test_a_worker_ends_when_nobody_has_it_any_more(write):
    worker = Worker(write("def f(prompt, completion):\n    return 1.0\n"), 20.0)
    pid = worker.process.pid
    assert list(worker(ROWS)) == [1.0] * 3
    del worker
    assert is_gone(pid)


def test_after_ctrl_c_no_reward_of_the_batch_before_is_taken_for_another(start):
    worker = start("return len(completion)")
    rewards = worker(ROWS)
    next(rewards)
    with pytest.raises(KeyboardInterrupt):
        rewards.throw(KeyboardInterrupt)
    with pytest.raises(CallError, match="has ended"):
        list(worker(ROWS))


OWNER = """
import json, sys
from folio.rl.functions import Row
from folio.runs.worker import Worker
worker = Worker(sys.argv[1], 1.0)
rewards = worker([Row("", "a", {}), Row("", "b", {})])
next(rewards)
print(worker.process.pid, flush=True)
next(rewards)
"""


@POSIX
@pytest.mark.slow
def test_a_worker_ends_with_its_owner_even_in_a_loop_in_c(write):
    body = "if completion == 'b': sum(range(2 * 10**12))\n    return 1.0"
    function = write(f"def f(prompt, completion):\n    {body}\n")
    owner = subprocess.Popen([sys.executable, "-c", OWNER, function], stdout=subprocess.PIPE, text=True)
    with owner:
        pid = int(owner.stdout.readline())
        owner.kill()
    assert is_gone(pid, seconds=20.0)


@POSIX
def test_ctrl_c_in_the_terminal_does_not_reach_a_worker(start):
    worker = start("return float(os.getpgid(0) == os.getpid())", top="import os")
    assert list(worker(ROWS[:1])) == [1.0], "the terminal signals the process group in front"
