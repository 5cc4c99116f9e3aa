import pytest

from partwise.tables.units import digits, shown


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("test/J_mean", 0.703, "70.3"),
        ("AP", 0.5, "50.0"),
        ("test/keypoints_AP50", 0.285, "28.5"),
        ("val/keypoints_AR", 0.3, "30.0"),
        ("test/human_ap_50", 80.0, "80.0"),
        ("miou", 20.25, "20.2"),
        ("test/epe", 2.034, "2.03"),
        ("reconstruction", 0.1234, "0.123"),
    ],
)
def test_fractions_are_shown_in_percent(key, value, text):
    assert f"{shown(key, value):.{digits(key)}f}" == text
