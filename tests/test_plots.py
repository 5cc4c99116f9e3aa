"""The scripts that draw answer mistakes in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COLUMNS = "data.train_photos,test/miou,test/pixel_accuracy,test/fg_accuracy\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "results.csv"), ("a,b\n1,2\n", "is no table of data.train_photos"), (f"{COLUMNS}1,2,x,4\n", "is no table")],
)
def test_a_wrong_table_is_one_line(content, says, tmp_path):
    file = tmp_path / "results.csv"
    if content is not None:
        file.write_text(content)
    script = ROOT / "scripts" / "plot_learning_curve.py"
    done = subprocess.run([sys.executable, script, file, "--out", tmp_path / "a.png"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
