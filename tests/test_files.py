"""Files, directories and lines: whatever has its final name is whole, or known to be damaged."""

import errno
import json
import os
import re
from pathlib import Path
from threading import Event, Thread

import pytest
from directories import content, names, put
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from folio.errors import FolioWarning, UserError
from folio.files import (
    WriteError,
    append_line,
    atomic_file,
    damage,
    drop_damaged_lines,
    keep_before,
    read_directory,
    read_json,
    read_lines,
    readable_directory,
    restore_directory,
    spans,
    write_directory,
    write_file,
)

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


class Killed(BaseException):
    """Stands for kill -9: nothing that folio has written may catch it."""


def full_disk(*arguments: object, **more: object) -> None:
    raise NO_SPACE


# Files


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_file(path, b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError) as caught:
        write_file(path, b"newest")
    assert str(caught.value) == f"{path}: cannot be written (No space left on device). Make room on the disk."
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == {"a.json"}


# Directories


def test_a_directory_is_whole_and_can_be_replaced(tmp_path):
    final = tmp_path / "checkpoints" / "step-1"
    put(final, "old")
    assert content(final) == "old"
    put(final, "new")
    assert content(final) == "new"
    assert names(final.parent) == {"step-1"}


@pytest.mark.parametrize("had_one", [True, False])
@pytest.mark.parametrize("where", ["write", "sync", "rename"])
def test_a_full_disk_leaves_the_earlier_one(tmp_path, monkeypatch, had_one, where):
    final = tmp_path / "step-1"
    if had_one:
        put(final, "old")

    def fail(*arguments: object) -> None:
        raise NO_SPACE

    rename = Path.rename

    def fail_second(path: Path, target: Path) -> Path:
        return fail() if target == final and "writing" in path.name else rename(path, target)

    if where == "sync":
        monkeypatch.setattr(os, "fsync", fail)
    if where == "rename":
        monkeypatch.setattr(Path, "rename", fail_second)

    def write(temporary: Path) -> None:
        (temporary / "a.txt").write_text("new")
        if where == "write":
            fail()

    with pytest.raises(WriteError) as caught:
        write_directory(final, write)
    assert (
        str(caught.value) == f"{final}: cannot be written (No space left on device). Make room on the disk."
    )
    assert names(tmp_path) == ({"step-1"} if had_one else set())
    if had_one:
        assert content(final) == "old"


def test_room_is_asked_for_only_where_it_is_what_lacks(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "step-1"
    words = f"{place}: cannot be written ({os.strerror(errno.ENOTDIR)})."
    for write in (lambda: put(place, "x"), lambda: append_line(place, {"step": 1})):
        with pytest.raises(WriteError) as caught:
            write()
        assert str(caught.value) == words


@pytest.mark.parametrize(
    ("error", "asks"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (SafetensorError("I/O error: No space left on device (os error 28)"), True),
        (SafetensorError("I/O error: Permission denied (os error 13)"), False),
        (SafetensorError("header too large"), False),
    ],
)
def test_the_words_of_the_system_are_told(tmp_path, error, asks):
    def write(temporary: Path) -> None:
        raise error

    with pytest.raises(WriteError) as caught:
        write_directory(tmp_path / "x", write)
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: cannot be written (")
    assert (error.strerror if isinstance(error, OSError) else str(error)) in str(caught.value)
    assert str(caught.value).endswith("Make room on the disk.") == asks


def test_another_mistake_is_told_as_it_is(tmp_path):
    put(tmp_path / "x", "old")
    mistake = UserError("the model has no head")

    def write(temporary: Path) -> None:
        raise mistake

    with pytest.raises(UserError) as caught:
        write_directory(tmp_path / "x", write)
    assert caught.value is mistake
    assert content(tmp_path / "x") == "old"
    assert names(tmp_path) == {"x"}


@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_at_a_rename_is_healed(tmp_path, monkeypatch, nth):
    final = tmp_path / "best"
    put(final, "old")
    rename, calls = Path.rename, 0

    def die(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(Killed):
        put(final, "new")
    monkeypatch.undo()
    restore_directory(final)
    assert content(final) == "old"
    put(final, "newest")
    assert content(final) == "newest"
    assert names(tmp_path) == {"best"}


def test_readers_find_what_survives_and_change_nothing(tmp_path):
    final, previous = tmp_path / "best", tmp_path / ".best.previous"
    assert readable_directory(final) == final
    previous.mkdir()
    assert readable_directory(final) == previous
    final.mkdir()
    assert readable_directory(final) == final
    assert names(tmp_path) == {"best", ".best.previous"}


def test_restore_leaves_what_is_whole(tmp_path):
    put(tmp_path / "best", "new")
    (tmp_path / ".best.previous").mkdir()
    restore_directory(tmp_path / "best")
    assert content(tmp_path / "best") == "new"
    restore_directory(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_checksums_are_those_of_sha256sum(tmp_path):
    put(tmp_path / "x", "abc")
    checksums = json.loads((tmp_path / "x" / "checksums.json").read_text())
    assert checksums["a.txt"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["checksums.json", "a.txt"])
def test_damage_is_told(tmp_path, name):
    put(tmp_path / "x", "abc")
    assert damage(tmp_path / "x") is None
    (tmp_path / "x" / name).unlink()
    assert damage(tmp_path / "x") == f"{name} is missing"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{}", "checksums.json does not cover any file"),
        (b"", "checksums.json cannot be read"),
        (b"[" * 200_000, "checksums.json cannot be read (it is nested too deeply)"),
        (b"[]", "checksums.json must hold a JSON object, not list"),
        (b'{"a.txt": 3}', "a.txt has changed since it was written"),
        (b'{"a.txt\\u0000": ""}', "cannot be read"),
        (b'{"..": ""}', "'..' cannot be read"),
    ],
)
def test_checksums_that_check_nothing_are_damage(tmp_path, content, problem):
    put(tmp_path / "x", "abc")
    (tmp_path / "x" / "checksums.json").write_bytes(content)
    assert problem in str(damage(tmp_path / "x"))


def test_what_checksums_must_cover_is_asked_for(tmp_path):
    put(tmp_path / "x", "abc")
    assert damage(tmp_path / "x", ["b.txt"]) is None
    assert damage(tmp_path / "x", ["b.txt", "c.txt"]) == "checksums.json does not cover c.txt"


def test_a_reader_gets_one_version_of_what_is_replaced_all_the_time(tmp_path):
    """Both files of a version hold its number; the gap between the two renames is open for a moment every time."""
    final, done, written = tmp_path / "best", Event(), 0

    def write(number: int) -> None:
        def fill(temporary: Path) -> None:
            for name in ("a.txt", "b.txt"):
                (temporary / name).write_text(str(number))

        write_directory(final, fill)

    def writer() -> None:
        nonlocal written
        while not done.wait(0.001):
            written += 1
            write(written)

    def read(directory: Path) -> set[str]:
        first = (directory / "a.txt").read_text()
        os.sched_yield() if hasattr(os, "sched_yield") else None
        return {first, (directory / "b.txt").read_text()}

    write(0)
    thread = Thread(target=writer)
    thread.start()
    try:
        for _ in range(300):
            assert damage(final) is None
            assert len(read_directory(final, read)) == 1
    finally:
        done.set()
        thread.join()
    assert written > 10


def test_what_a_reader_finds_wrong_with_what_stays_is_told(tmp_path):
    put(tmp_path / "best", "abc")
    with pytest.raises(FileNotFoundError):
        read_directory(tmp_path / "best", lambda directory: (directory / "c.txt").read_text())
    with pytest.raises(FileNotFoundError):
        read_directory(tmp_path / "absent", lambda directory: (directory / "c.txt").read_text())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_files_get_the_mode_that_other_files_get(tmp_path):
    (tmp_path / "plain").write_text("")
    write_file(tmp_path / "ours", b"")
    with atomic_file(tmp_path / "private") as temporary:  # as safetensors does
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_a_file_of_a_directory_that_cannot_be_written_is_told_by_the_directorys_name(tmp_path):
    def write(temporary: Path) -> None:
        with atomic_file(temporary / "a.txt"):
            raise NO_SPACE

    with pytest.raises(WriteError) as caught:
        write_directory(tmp_path / "x", write)
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: cannot be written (No space left on device)")


# Lines

# Any text, half surrogates from a terminal included.
records = st.lists(
    st.fixed_dictionaries({"step": st.integers(1, 50), "loss": st.floats(allow_nan=False), "text": st.text(st.characters())}),
    max_size=8,
)  # fmt: skip


@given(records, st.integers(0, 60), st.integers(0, 200))
def test_lines_come_back_and_a_cut_costs_only_the_last(tmp_path_factory, records, before, cut):
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.unlink(missing_ok=True)
    assert read_lines(path) == []
    keep_before(path, 1)
    for record in records:
        append_line(path, record)
    assert read_lines(path) == records
    if not records:
        return
    whole = path.read_bytes()
    last = len(whole.rstrip(b"\n").rpartition(b"\n")[2])
    path.write_bytes(whole[: len(whole) - 1 - min(cut + 1, last)])
    assert read_lines(path) == records[:-1]

    keep_before(path, before)
    kept = [record for record in records[:-1] if record["step"] < before]
    assert read_lines(path) == kept
    append_line(path, records[-1])
    assert read_lines(path) == [*kept, records[-1]]


def test_a_cut_line_is_dropped_before_others_are_appended(tmp_path):
    path = tmp_path / "lines.jsonl"
    drop_damaged_lines(path)
    assert not path.exists()
    path.write_bytes(b'{"step": 1}\n{"st')
    drop_damaged_lines(path)
    assert path.read_bytes() == b'{"step": 1}\n'


DAMAGED = {
    "not JSON": b"#",
    "not an object": b"[1]",
    "nested": b"[" * 100_000,
    "zeros of a power cut": b"\0" * 300,
    "not text": b"\xff\xfe",
    "half of it": b'{"step": 2, "lo',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_costs_no_other_and_is_told(tmp_path, content):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + content + b'\n{"step": 3}\n')
    told = re.escape(f"{path}: line 2 cannot be read: left out.")
    with pytest.warns(FolioWarning, match=told):
        assert read_lines(path) == [{"step": 1}, {"step": 3}]
    with pytest.warns(FolioWarning, match=told):
        keep_before(path, 9)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 3}\n'


def test_lines_that_are_no_records_of_the_file_are_damaged(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"stop": 2}\n{"step": "3"}\n{"step": 4}\n\n{"step": 5}')
    with pytest.warns(FolioWarning, match=r"2 lines \(2-3\) cannot be read: left out"):
        assert [
            record["step"] for record in read_lines(path, lambda record: record.get("step") in {1, 4, 5})
        ] == [1, 4, 5]
    with pytest.warns(FolioWarning, match=r"2 lines \(2-3\)"):
        keep_before(path, 5)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 4}\n'


def test_zeros_at_the_end_are_a_cut_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + b"\0" * 300)
    assert read_lines(path) == [{"step": 1}]
    keep_before(path, 9)
    assert path.read_bytes() == b'{"step": 1}\n'


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ([range(3, 4)], "step 3"),
        ([range(3, 5)], "2 steps (3-4)"),
        ([range(1, 2), range(3, 6), range(9, 10)], "5 steps (1, 3-5, 9)"),
        (
            [range(1, 10**30), *(range(n, n + 1) for n in range(5))],
            f"{10**30 + 4:,} steps (1-{10**30 - 1}, 0, 1, 2, 3, ...)",
        ),
    ],
)
def test_many_numbers_are_told_in_few_words(ranges, words):
    assert spans(ranges, "step") == words


def test_a_full_disk_is_told_of_lines_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(UserError, match=r"metrics\.jsonl.*No space left on device"):
        append_line(tmp_path / "metrics.jsonl", {"step": 1})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "Expecting property name"),
        (b'{"a": ' * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "digits"),
        (b"\xff", "can't decode"),
        (b"[1]", "must hold a JSON object, not list"),
    ],
)
def test_what_is_no_json_object_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path, "Copy it again.")
    assert str(path) in str(error.value)
    assert words in str(error.value)
    assert str(error.value).endswith("Copy it again.")
    assert "\n" not in str(error.value)
