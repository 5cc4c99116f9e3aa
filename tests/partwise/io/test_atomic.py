import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partwise.errors import InputError
from partwise.io.atomic import atomic, json_array, write_csv, write_json, write_text


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(IsADirectoryError), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half") and tmp_path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_folders_are_made(tmp_path):
    write_text(tmp_path / "x" / "y" / "a.txt", "ä")
    assert (tmp_path / "x" / "y" / "a.txt").read_text(encoding="utf-8") == "ä"


def test_json_refuses_what_others_cannot_read(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'


def test_csv_has_the_columns_of_all_rows(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 1, "y": None}, {"x": 2.5, "z": "a,b"}])
    assert (tmp_path / "a.csv").read_bytes() == b'x,y,z\n1,,\n2.5,,"a,b"\n'


def test_a_file_in_the_way_is_named(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"cannot write .*a\.txt \(No space left on device\)"):
        write_text(tmp_path / "a.txt", "")


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text())))
def test_json_arrays_come_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "rows.json"
    with json_array(path) as append:
        for value in values:
            append(value)
    assert json.loads(path.read_text(encoding="utf-8")) == values
