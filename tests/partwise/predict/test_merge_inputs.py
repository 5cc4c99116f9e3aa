"""Label sets that a merge is given by name or in YAML."""

import pytest

from partwise.errors import InputError
from partwise.io.atomic import write_text
from partwise.labels import CIHP, LabelSet
from partwise.predict.merge_inputs import read_label_set


def test_label_sets(tmp_path):
    assert read_label_set("cihp") == CIHP
    write_text(tmp_path / "mine.yaml", "names: [background, left, right, hat]\npairs: [[left, right]]\n")
    assert read_label_set(str(tmp_path / "mine.yaml")) == LabelSet(
        "mine", ("background", "left", "right", "hat"), ((1, 2),)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names: [background, yes]", "Expected `str`, got `bool` - at `$.names[1]`"),
        ("names: [background]", "1 names"),
        ("names: [background, a, a]", "a names several classes"),
        ("names: [background, a]\npairs: [[a, b]]", "'b' is not in list"),
        ("names: [background, a]\ncolors: 3", "unknown field `colors`"),
        ("names: [background", "expected ',' or ']'"),
        ("", "Expected `object`, got `null`"),
    ],
)
def test_yaml_that_is_no_label_set(tmp_path, text, says):
    file = tmp_path / "mine.yaml"
    write_text(file, text)
    with pytest.raises(InputError) as caught:
        read_label_set(str(file))
    assert f"{file} holds no label set (" in str(caught.value)
    assert says in str(caught.value)


def test_no_label_set():
    with pytest.raises(InputError, match=r"no label set 'vipp'; name a YAML file or one of ccp, cihp"):
        read_label_set("vipp")
    with pytest.raises(InputError, match=r"mine.yaml does not exist"):
        read_label_set("mine.yaml")
