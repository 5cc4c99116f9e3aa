import pytest

from data_modules.datasets.flying_chairs import read_list as read_chairs
from data_modules.formats.layout import read_list
from partwise.errors import InputError
from partwise.io.davis_list import read_list as read_davis
from partwise.io.object_rows import read_instance_classes
from partwise.io.text import read_lines, read_text

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, end):
    (tmp_path / "a.txt").write_bytes(end.join(["äö", "", "c\u2028d", ""]).encode(encoding))
    assert read_lines(tmp_path / "a.txt") == ["äö", "", "c\u2028d"]


def test_big_endian_utf_16(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa\nb".encode("utf-16-be"))
    assert read_text(tmp_path / "a.txt") == "a\nb"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a\nä".encode("latin-1"), r"a\.txt, line 2: not UTF-8; save the file"),
        ("a\nb".encode("utf-16-le"), r"a\.txt, line 1: not UTF-8"),  # without its mark
        (b"\xff\xfea\0\n\0b", r"a\.txt, line 2: not UTF-16-LE"),
    ],
)
def test_other_encodings_are_named_with_their_line(tmp_path, content, says):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize(("name", "says"), [("missing.txt", "does not exist"), (".", "cannot read")])
def test_what_cannot_be_read_is_one_line(tmp_path, name, says):
    with pytest.raises(InputError, match=says):
        read_text(tmp_path / name)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_list_is_read_alike(tmp_path, encoding):
    def file(text):
        path = tmp_path / "FlyingChairs_train_val.txt"
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        return path

    assert read_list(file("v/1\nv/2\n")) == ["v/1", "v/2"]
    assert read_davis(file("bear\nboat\n")) == {"bear": [], "boat": []}
    assert read_instance_classes(file("1 2 1\n2 3 1\n"), 20) == {1: 2, 2: 3}
    assert read_chairs(file("1\n2\n1\n").parent, "train") == ["00001", "00003"]
