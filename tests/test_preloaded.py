"""Libraries for LD_PRELOAD, wherever temporary files are."""

import shutil
import tempfile

import pytest

from tests.gateway_process import run
from tests.preloaded import SOURCES, preloaded


@pytest.mark.parametrize("name", ["plain", "with a space", "with:colon"])
def test_a_library_is_loaded_whatever_the_folder_for_temporary_files_is_called(tmp_path, monkeypatch, name):
    # given a folder for temporary files, and a source that was not compiled yet
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    source = shutil.copy(SOURCES / "i2c.c", tmp_path / "i2c.c")
    # when a program is run with the library
    done = run("true", LD_PRELOAD=str(preloaded(source)))
    # then nothing is said about it
    assert (done.returncode, done.stderr) == (0, "")
