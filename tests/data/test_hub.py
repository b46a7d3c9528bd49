"""Datasets of the Hugging Face Hub. Without a network, `datasets` reads folders that look as a dataset there does."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from folio.data.conversations import read_conversations
from folio.data.hub import hub_rows, is_hub_name
from folio.data.preferences import read_preferences
from folio.errors import UserError

datasets = pytest.importorskip("datasets")

CONFIGS = """---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train.parquet}
  - {split: test, path: main/test.parquet}
- config_name: socratic
  data_files: [{split: train, path: socratic/train.parquet}]
---
"""


def put(path, **columns):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """Two datasets: with two subsets, and with one and a folder. `datasets` looks for folders before the Hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("FOLIO_DATA", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    put("openai/gsm8k/main/train.parquet", question=["a", "b"], answer=["1", "2"])
    put("openai/gsm8k/main/test.parquet", question=["c"], answer=["3"])
    put("openai/gsm8k/socratic/train.parquet", question=["d"], answer=["4"])
    Path("openai/gsm8k/README.md").write_text(CONFIGS)
    put("some/pairs/data/train-00000-of-00001.parquet", prompt=["a"], chosen=["b"], rejected=["c"])
    put("some/pairs/data/test-00000-of-00001.parquet", prompt=["d"], chosen=["e"], rejected=["f"])
    put("some/pairs/harmless-base/train.parquet", chosen=["x"], rejected=["y"])


FOUND = {
    "openai/gsm8k:main": ["a", "b"],
    "openai/gsm8k:main:test": ["c"],
    "openai/gsm8k:main:train[:1]": ["a"],
    "openai/gsm8k:socratic": ["d"],
    "some/pairs": ["b"],
    "some/pairs::test": ["e"],
    "some/pairs:default:test": ["e"],
    "some/pairs:harmless-base": ["x"],
    "some/pairs:harmless-base:train": ["x"],
}


@pytest.mark.parametrize(("name", "expected"), FOUND.items())
def test_subset_split_and_folder_are_chosen_by_name(name, expected):
    _, rows = hub_rows(name)
    assert [row.get("question") or row["chosen"] for _, row in rows] == expected


def test_it_is_told_where_rows_stand():
    origin, rows = hub_rows("openai/gsm8k:main")
    assert origin == "openai/gsm8k:main:train of the Hugging Face Hub"
    assert [where for where, _ in rows] == [f"openai/gsm8k, row {n} of train" for n in (1, 2)]


MISTAKES = {
    "some/pairs::dev": "some/pairs: Unknown split \"dev\". Should be one of ['train', 'test']. Its subsets: default. "
    "Name the one you want, as some/pairs:SUBSET:SPLIT.",
    "openai/gsm8k": "openai/gsm8k: Config name is missing. Its subsets: main, socratic. "
    "Name the one you want, as openai/gsm8k:SUBSET:SPLIT.",
    "some/other": "There is no file or folder some/other, and it cannot be read from the Hugging Face Hub "
    "(Couldn't reach 'some/other' on the Hub (OfflineModeIsEnabled)). Try again with a network, or download it and "
    "name the files.",
}


@pytest.mark.parametrize(("name", "told"), MISTAKES.items())
def test_mistakes_are_told_in_one_line(name, told):
    with pytest.raises(UserError) as caught:
        hub_rows(name)
    assert str(caught.value) == told


def test_the_search_is_logged_and_nothing_is_printed(caplog, capsys):
    with caplog.at_level("INFO", logger="folio"):
        hub_rows("some/pairs")
    assert caplog.messages == ["looking for some/pairs on the Hugging Face Hub"]
    assert "looking" not in "".join(capsys.readouterr())


def test_what_is_neither_a_subset_nor_a_folder_is_told():
    with pytest.raises(
        UserError, match=r"nothing doesn't contain any data files\. Its subsets: default\. Name"
    ):
        hub_rows("some/pairs:nothing")


def test_a_dataset_that_may_not_be_read_is_told(monkeypatch):
    def refuse(name):
        raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub.")

    monkeypatch.setattr(datasets, "get_dataset_config_names", refuse)
    with pytest.raises(
        UserError, match=r"no file or folder a/b, and no dataset of that name .* hf auth login\.$"
    ):
        hub_rows("a/b")


def test_without_the_library_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"no file or folder a/b\. .* pip install 'folio-gpt\[hub\]'"):
        read_preferences("a/b")


def test_rows_that_cannot_be_used_are_left_out():
    put("some/bad/train.parquet", prompt=["a", "a"], chosen=["b", "c"], rejected=["b", "d"])
    found = read_preferences("some/bad::train")
    assert [each.chosen for each in found] == ["c"]
    assert found.origin == (
        "some/bad:train of the Hugging Face Hub (1 of 2 rows left out; some/bad, row 1 of train: "
        "chosen and rejected are the same: there is nothing to prefer)"
    )


def test_a_folder_of_that_name_comes_first():
    put("some/talk/a.parquet", prompt=["a"], completion=["b"])
    assert read_conversations("some/talk").origin == str(Path("some/talk"))


@pytest.mark.parametrize(
    "name", ["a/b", "HuggingFaceH4/ultrafeedback_binarized", "a/b.c-d:main:train[:10%]", "a/b::test"]
)
def test_names(name):
    assert is_hub_name(name)


@pytest.mark.parametrize("name", ["a", "./a/b", "../b", "/a/b", "a/b/c", "~/a", "", "a/", "a b/c", ".a/b"])
def test_paths_are_no_names(name):
    assert not is_hub_name(name)
