import statistics
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from partwise.errors import InputError
from partwise.labels import FACTS, PASCAL_PERSON_PART
from partwise.tables import published

ROOT = Path(__file__).resolve().parents[3]
METRICS = ROOT / "experiments" / "published"
RECORDS = published.read_published(METRICS)
WHOLE = "TPR Module and GBSR Module"
HEADER = "table,row,metric,value,run,key,note\n"


def averages():
    """Paper, table, row, values of the classes, printed average, whether a misprint is noted."""
    rows = defaultdict(dict)
    for record in RECORDS:
        rows[record.paper, record.table, record.run or record.row][record.metric] = record
    for (paper, table, row), cells in rows.items():
        classes = {m: r for m, r in cells.items() if r.key.startswith(("test/f1_", "test/iou_")) or not r.key}
        if paper == "tcnet" and table in ("3", "5", "7"):
            average = rows[paper, str(int(table) - 1), row]["Avg.F-1"]
        elif paper == "pose_transfer" and table in ("3", "4"):
            average = cells["Avg"]
            classes.pop("Avg", None)
        else:
            continue
        # A wrong name of a row leaves its metrics right.
        noted = any(r.note.startswith("misprint") and "the row is" not in r.note for r in (average, *classes.values()))
        yield paper, table, row, [r.value for r in classes.values()], average.value, noted


def test_averages_follow_from_their_classes():
    checked = Counter()
    misprints = []
    for paper, table, row, values, average, noted in averages():
        assert len(values) == {"tcnet": 13, "pose_transfer": 7 if table == "3" else 5}[paper]
        # Classes are rounded (0.005), some averages cut instead of rounded (0.01).
        agrees = abs(statistics.fmean(values) - average) < 0.015
        checked[paper, table] += agrees
        if noted or not agrees:
            misprints.append((paper, table, row, agrees))
    assert checked == {
        ("tcnet", "3"): 17, ("tcnet", "5"): 6, ("tcnet", "7"): 6, ("pose_transfer", "3"): 9, ("pose_transfer", "4"): 11,
    }  # fmt: skip
    assert misprints == [("pose_transfer", "3", "HAZN", False), ("pose_transfer", "4", "Horse: Attention", False)]


@pytest.mark.parametrize(
    ("paper", "places"),
    [
        ("aten", [("2", "ATEN(l=4)", "J Mean"), ("3", "ATEN", "mIoU")]),
        ("pose_transfer", [("1", "semi, 7K masks, 10k keypoints", "mIoU"), ("3", "Ours (VGG-16)", "Avg")]),
        ("pose_transfer", [("2", "part-level prior, w aug, k=3, n=5", "mIoU"), ("3", "Ours (VGG-16)", "Avg")]),
        *[
            ("self_supervised", [("1", "Ours, Resnet50", m), ("3", "N_TPR=5, N_GBSR=1", m), ("5", WHOLE, m)])
            for m in ("AP val", "AP_M val", "AP_H val", "AP test", "AP_M test")  # not AP_H test, which is cut short
        ],
        *[
            ("self_supervised", [("2", "Ours, Resnet50", m), ("4", "N_TPR=5, N_GBSR=1", m), ("6", WHOLE, last)])
            for m, last in (("AP", "AP"), ("AP_M", "AP_M"), ("AP_L", "AP_H"))
        ],
    ],
)
def test_metrics_that_a_paper_repeats_agree(paper, places):
    cells = {(r.table, r.row, r.metric): r.value for r in RECORDS if r.paper == paper}
    assert len({cells[place] for place in places}) == 1


def test_papers_tables_and_numbers_of_cells():
    assert Counter((r.paper, r.table) for r in RECORDS) == {
        ("aten", "1"): 6 * 10, ("aten", "2"): 10 * 6, ("aten", "3"): 4,
        ("instance_crf", "1"): 7 * 4, ("instance_crf", "2"): 8 * 6, ("instance_crf", "3"): 9,
        ("pose_transfer", "1"): 4, ("pose_transfer", "2"): 6,
        ("pose_transfer", "3"): 10 * 8, ("pose_transfer", "4"): 12 * 6,
        ("self_supervised", "1"): 3 * 6, ("self_supervised", "2"): 7 * 3, ("self_supervised", "3"): 6 * 6,
        ("self_supervised", "4"): 6 * 3, ("self_supervised", "5"): 3 * 6, ("self_supervised", "6"): 3 * 3,
        ("tcnet", "2"): 17 * 5, ("tcnet", "3"): 17 * 13, ("tcnet", "4"): 6 * 5, ("tcnet", "5"): 6 * 13,
        ("tcnet", "6"): 6 * 5, ("tcnet", "7"): 6 * 13, ("tcnet", "8"): 6 * 5, ("tcnet", "9"): 6 * 13,
    }  # fmt: skip


def test_values_are_in_their_papers_unit():
    for record in RECORDS:
        if record.value is not None:
            assert -3 < record.value * record.scale <= 100
            assert record.scale == 1 or record.value < 1


def test_cells_that_share_a_name_say_so():
    names = Counter(r[:4] for r in RECORDS)
    assert all(any(r.note for r in RECORDS if r[:4] == name) for name, count in names.items() if count > 1)
    runs = Counter((*r[:2], r.metric, r.run) for r in RECORDS if r.run)
    assert max(runs.values()) == 1


def test_keys_of_classes_name_classes():
    classes = {"f1": set(FACTS.names), "iou": set(PASCAL_PERSON_PART.names)}
    seen = defaultdict(set)
    for record in RECORDS:
        _, _, name = record.key.partition("/")
        kind, _, part = name.partition("_")
        if kind in classes:
            seen[kind].add(part)
    assert seen == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table,row\n", "columns"),
        (HEADER + "1,a,b\n", "line 2: 3 cells"),
        (HEADER + "1,a,b,1.0,,,\n1,a,,1.0,,,\n", "line 3: table, row and metric"),
        (HEADER + "1,a,b,1.0*,,,\n", "neither a number"),
        (HEADER + "1,a,b,1.0,aten vip,,\n", "EXPERIMENT"),
        (HEADER + "1,a,b,1.0,,miou,\n", "SPLIT/NAME"),
        (HEADER + '1,"a,b,1.0,,,\n', "cannot be read"),
        ("\udcff", "cannot be read"),
        (None, "no CSVs"),
    ],
)
def test_malformed_metrics_are_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "paper.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message):
        published.read_published(tmp_path)


def test_choosing_what_is_not_there_says_what_is():
    with pytest.raises(InputError, match="aten, instance_crf, pose_transfer, self_supervised, tcnet"):
        published.select(RECORDS, "svp", None)
    with pytest.raises(InputError, match="'4' is not one of 1, 2, 3"):
        published.select(RECORDS, "aten", "4")
