"""Files and folders appear whole or not at all."""

import os
from pathlib import Path

import pytest

from d2lseg.engine import files


def test_a_file_takes_its_place_only_when_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.written_whole(path) as file:
        file.write(b"first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), files.written_whole(path) as file:
        file.write(b"second")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"first" and os.listdir(path.parent) == ["a.txt"]


def test_only_a_tilde_of_its_own_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert files.user_path("~") == tmp_path and files.user_path("~/a/b.png") == tmp_path / "a" / "b.png"
    for name in ("~scan.png", "~$draft/a.png", "a/~/b.png", "."):
        assert files.user_path(name) == Path(name)


@pytest.mark.parametrize("locked", [False, True])
def test_a_folder_takes_its_place_only_when_complete(tmp_path, locked):
    path = tmp_path / "new" / "set"
    with pytest.raises(KeyboardInterrupt), files.folder_written_whole(path, locked) as draft:
        (draft / "a").touch()
        raise KeyboardInterrupt
    assert os.listdir(path.parent) == []
    with files.folder_written_whole(path, locked) as draft:
        (draft / "b").touch()
        assert not path.exists()
    assert os.listdir(path.parent) == ["set"] and os.listdir(path) == ["b"]


@pytest.mark.parametrize("locked", [False, True])
def test_what_is_in_the_way_stays(tmp_path, locked):
    path = tmp_path / "set"
    with pytest.raises(FileExistsError, match="set: already exists; choose another folder"):
        with files.folder_written_whole(path, locked):
            path.mkdir()
    assert os.listdir(tmp_path) == ["set"] and os.listdir(path) == []


def test_under_a_lock_the_next_run_clears_what_a_killed_one_left(tmp_path):
    path = tmp_path / "set"
    run = files.folder_written_whole(path, locked=True)
    left = run.__enter__()  # and never leaves
    (left / "half").touch()
    with files.folder_written_whole(path, locked=True) as draft:
        assert draft == left and os.listdir(draft) == []
    assert os.listdir(tmp_path) == ["set"]


def test_a_broken_link_is_in_the_way_too(tmp_path):
    try:
        (tmp_path / "link").symlink_to("gone")
    except OSError:
        pytest.skip("this user may not make links")
    with pytest.raises(FileExistsError, match="link: already exists"):
        files.check_free(tmp_path / "link")
