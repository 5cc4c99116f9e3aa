"""The contact sheet."""

from PIL import Image

from data_modules.synthetic.render.sheet import write_contact_sheet


def test_a_sheet_has_a_row_for_each_clip(tmp_path):
    file = tmp_path / "docs" / "sheet.png"
    write_contact_sheet(file, seeds=[0, 1], frames=[1, 2, 3], size=(32, 48))
    with Image.open(file) as sheet:
        assert sheet.size == (3 * (3 * 48 + 2), 2 * (32 + 2))
