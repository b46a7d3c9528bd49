"""What others wrote and the page brings along is what they published, with its license."""

import hashlib
import json
import shutil
import subprocess
import tarfile

import pytest

from folio.server.static import PAGE

VENDORED = sorted(PAGE.rglob("vendored.json"))


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("record", VENDORED, ids=lambda path: path.parent.name)
def test_files_are_as_they_were_published_and_all_are_told(record):
    told = json.loads(record.read_text())
    assert {path.name for path in record.parent.iterdir()} == {*told["files"], record.name}
    for name, file in told["files"].items():
        assert digest((record.parent / name).read_bytes()) == file["sha256"], name
    assert any(name.startswith("LICENSE") for name in told["files"])
    assert (told["name"], told["license"]) == ("uplot", "MIT")


@pytest.mark.network
@pytest.mark.parametrize("record", VENDORED, ids=lambda path: path.parent.name)
def test_they_are_those_of_the_package(record, tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    told = json.loads(record.read_text())
    subprocess.run(
        ["npm", "pack", f"{told['name']}@{told['version']}"], cwd=tmp_path, check=True, capture_output=True
    )
    (archive,) = tmp_path.glob("*.tgz")
    assert digest(archive.read_bytes()) == told["tarball_sha256"]
    with tarfile.open(archive) as tar:
        for name, file in told["files"].items():
            assert digest(tar.extractfile(file["in"]).read()) == file["sha256"], name
