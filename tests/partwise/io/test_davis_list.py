import pytest

from partwise.errors import InputError
from partwise.io.davis_list import find_list, read_list


def listed(tmp_path, text, folder="480p"):
    file = tmp_path / "ImageSets" / folder / "val.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(text)
    return file


def test_both_releases(tmp_path):
    rows = b"".join(b"/JPEGImages/480p/%s.jpg /Annotations/480p/%s.png\n" % (f, f) for f in (b"b/1", b"a/0", b"b/2"))
    assert read_list(listed(tmp_path, rows + b"\n")) == {"b": ["1", "2"], "a": ["0"]}
    new = listed(tmp_path, b"b\na\n", "2016")
    assert read_list(new) == {"b": [], "a": []}
    assert find_list(tmp_path, "val") == tmp_path / "ImageSets" / "480p" / "val.txt"
    assert find_list(tmp_path, "train") is None


@pytest.mark.parametrize(
    "row",
    [
        b"bear/00000.jpg bear/00001.png",
        b"bear/00000.jpg boat/00000.png",  # image and mask of two sequences
        b"00000.jpg 00000.png",
        b"bear/00000.jpg",
        b"bear/00000.jpg bear/00000.png 1",
    ],
)
def test_damaged_rows_are_named(tmp_path, row):
    with pytest.raises(InputError, match=r"val\.txt, line 2: .* is neither a sequence nor an image and its mask"):
        read_list(listed(tmp_path, b"\n" + row))


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"val\.txt lists no sequence; copy it"):
        read_list(listed(tmp_path, b" \n"))
