"""What names of files say, and which documents are held out."""

import os
from pathlib import Path

import pytest

from folio.data.split import files_of, part_of, share
from folio.errors import FolioWarning, UserError

NAMES = {
    "train.jsonl": "train",
    "train-00000-of-00004.parquet": "train",
    "Train_2.txt": "train",
    "books-val.parquet": "validation",
    "valid.jsonl": "validation",
    "dev.csv": "validation",
    "validation/one.txt": "validation",
    "en/test/one.txt": "test",
    "test/training.txt": "test",
    "test1.txt": "test",
    "latest.txt": "",
    "trains.txt": "",
    "evaluation.txt": "",
    "valid": "validation",
}


@pytest.mark.parametrize(("name", "part"), NAMES.items(), ids=NAMES)
def test_a_word_of_a_name_says_what_a_file_is_for(name, part):
    assert part_of(Path(name)) == part


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def found(files, folder):
    return [
        [path.relative_to(folder).as_posix() for path in part] for part in (files.train, files.validation)
    ]


def test_a_file_that_is_named_is_read_whatever_its_name(tmp_path):
    put(tmp_path, "test.txt")
    assert files_of(tmp_path / "test.txt", (".txt",)).train == [tmp_path / "test.txt"]


def test_files_beside_those_for_validation_are_for_training(tmp_path):
    put(tmp_path, "books.txt", "books-val.txt", "b/c.txt", ".git/train.txt")
    files = files_of(tmp_path, (".txt",))
    assert found(files, tmp_path) == [["books.txt", "b/c.txt"], ["books-val.txt"]]
    assert files.notes == "validation: books-val.txt"


def test_what_is_left_out_is_counted(tmp_path):
    put(tmp_path, "a.txt", "b.pdf", "c/d.PDF", "e.png", "f")
    with pytest.warns(FolioWarning, match=r": 4 files left out \(\.pdf 2, \.png 1, without suffix 1\)$"):
        assert found(files_of(tmp_path, (".txt",)), tmp_path) == [["a.txt"], []]


def test_only_files_for_testing_are_a_mistake(tmp_path):
    put(tmp_path, "test/a.txt", "test/b.txt")
    with pytest.raises(UserError, match=r"all files in .* are for testing"):
        files_of(tmp_path, (".txt", ".md"))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_once(tmp_path):
    put(tmp_path, "data/a.txt", "elsewhere/b.txt")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    assert found(files_of(tmp_path / "data", (".txt",)), tmp_path / "data") == [["a.txt", "link/b.txt"], []]


def test_a_tenth_is_held_out_from_a_hundred_documents_on():
    documents = [str(n) for n in range(100)]
    assert share(documents[:99], str) is None
    train, held_out = share(documents, str)
    assert sorted([*train, *held_out]) == sorted(documents)
    assert 2 < len(held_out) < 25
    assert share(["same"] * 200, str) is None
