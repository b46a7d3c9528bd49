"""Conversations that are kept as they go."""

import pytest

from folio.data.conversations import read_conversations
from folio.data.transcripts import KEPT, Transcript, chats_folder, saved_transcripts
from folio.files import WriteError

TALK = [{"role": "user", "content": "a cat"}, {"role": "assistant", "content": "the mat"}]


def test_a_conversation_has_one_file_from_its_first_turn_on(tmp_path):
    transcript = Transcript(tmp_path / "chats")
    assert transcript.file is None
    transcript.write(TALK)
    transcript.write(TALK * 2)
    (file,) = saved_transcripts(tmp_path / "chats")
    assert file == transcript.file
    (messages,) = read_conversations(file)
    assert list(messages) == TALK * 2
    assert (tmp_path / "chats").stat().st_mode & 0o077 == 0, "for the user alone"


def test_an_earlier_one_is_continued_in_its_file(tmp_path):
    first = Transcript(tmp_path)
    first.write(TALK)
    Transcript(tmp_path, first.file).write(TALK * 2)
    assert saved_transcripts(tmp_path) == [first.file]


def test_the_newest_come_first_and_the_oldest_go(tmp_path):
    for number in range(KEPT):
        (tmp_path / f"1999-{number:03}.jsonl").touch()
    newest = Transcript(tmp_path)
    newest.write(TALK)
    saved = saved_transcripts(tmp_path)
    assert saved[0] == newest.file
    assert len(saved) == KEPT
    assert not (tmp_path / "1999-000.jsonl").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot be written"):
        Transcript(tmp_path / "file" / "chats").write(TALK)


def test_it_is_in_the_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    assert chats_folder() == tmp_path / "folio" / "chats"
