"""Options of writers: their names, what is refused, and the folder in the cache that they lead to."""

import pickle

import pytest
from commands import script

from data_modules.synthetic.layouts.ccp import CCPWriter
from data_modules.synthetic.layouts.mpii import MPIIWriter
from data_modules.synthetic.layouts.vip import VIPWriter
from data_modules.vip import VIPDataModule
from partwise.errors import InputError

#: Options and the folder that they have had since the first version: it must be found again.
FOLDERS = [
    ({"photos": 5, "size": [64, 48]}, "ccp-v1-7de3ebdf30f9105e"),
    ({"images": {"train": 2, "val": 2}, "size": [64, 64]}, "cihp-v1-8ff76611870167ab"),
    ({"photos": {"train": 6, "val": 4}, "size": [64, 96], "crowds": 0.5}, "coco_persons-v1-3a08fdf64677ab79"),
    (
        {"sequences": {"train": 2, "val": 1, "test": 1}, "frames_per_sequence": 3, "size": [64, 96]},
        "davis-v1-738a734cda03322b",
    ),
    (
        {"tracklets": {"train": 2, "val": 1, "test": 1}, "frames_per_tracklet": 7, "size": [61, 41]},
        "facts-v1-7f5067d864d18f56",
    ),
    ({"pairs": {"train": 3, "val": 2}, "size": [64, 96], "shapes": 4}, "flying_chairs-v1-dc349aa32b5e508c"),
    ({"videos": 2, "size": [64, 64]}, "folder-v1-f17ebfddb59fc3ef"),
    ({"photos": {"train": 3, "val": 2, "poses": 2}, "size": [64, 96]}, "horse_cow-v1-98cc20fc1205b1e1"),
    ({"images": {"train": 2, "val": 2}, "size": [64, 48]}, "lip-v1-462ba3794278e14f"),
    ({"photos": 11, "size": [64, 64]}, "mpii-v1-74d388394f8eb26a"),
    ({"photos": {"val": 4, "test": 3}, "size": [64, 96]}, "ochuman-v1-cf7de9509e74d1a2"),
    ({"images": {"train": 2, "val": 2}, "size": [64, 64]}, "pascal_person_part-v1-aaaa5a5a7df99445"),
    (
        {"videos": {"train": 2, "val": 1, "test": 1}, "frames_per_video": 3, "size": [64, 96]},
        "unlabelled_video-v1-d09eec4325bf1f7f",
    ),
    ({"videos": {"train": 2, "val": 1, "test": 1}, "frames_per_video": 7, "size": [64, 64]}, "vip-v1-b2d0b9e6c591b77a"),
]


@pytest.fixture(scope="module")
def make_synthetic():
    return script("scripts/make_synthetic.py")


def test_every_layout_is_found_by_its_name(make_synthetic):
    assert list(make_synthetic.find_writers()) == sorted(folder.partition("-")[0] for _, folder in FOLDERS)


@pytest.mark.parametrize(("options", "folder"), FOLDERS, ids=[folder for _, folder in FOLDERS])
def test_folders_of_earlier_versions_are_found(options, folder, make_synthetic, monkeypatch, tmp_path):
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path))
    (tmp_path / folder).mkdir()
    writer = make_synthetic.find_writers()[folder.partition("-")[0]]
    assert writer.of({**options, "workers": 3}).cached() == tmp_path / folder


def test_jobs_of_a_writer_go_to_other_processes():
    writer = VIPWriter(videos={"train": 1}, size=[32, 32])
    assert pickle.loads(pickle.dumps(writer._write_video)).__self__ == writer


def test_what_nobody_can_ask_for_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"stand-in vip has no option 'sizes'; it has size, seed"):
        VIPDataModule(synthetic={"videos": {"train": 1}, "sizes": 3}).prepare_data()
    with pytest.raises(InputError, match="stand-in ccp has no number of photos; set photos"):
        CCPWriter.of({})
    with pytest.raises(InputError, match="form 'xml' of MPII"):
        MPIIWriter(photos=1, form="xml").write(tmp_path)


def test_the_command_writes_what_the_cache_holds(make_synthetic, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path / "cache"))
    make_synthetic.main(["ccp", "--out", str(tmp_path / "out"), "--videos", "2", "size=[32,32]", "workers=1"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    cached = CCPWriter(photos=2, size=(32, 32), workers=1).cached()
    photos = [file.name for file in (cached / "photos").iterdir()]
    assert sorted(photos) == ["0001.jpg", "0002.jpg"]
    for name in photos:
        assert (tmp_path / "out" / "photos" / name).read_bytes() == (cached / "photos" / name).read_bytes()


def test_the_command_shares_pictures_among_splits(make_synthetic, tmp_path):
    make_synthetic.main(["lip", "--out", str(tmp_path), "--videos", "3", "size=[32,32]", "workers=1"])
    lists = {file.name: len(file.read_text().split()) for file in (tmp_path / "TrainVal_images").glob("*.txt")}
    assert lists == {"train_id.txt": 2, "val_id.txt": 1}


@pytest.mark.parametrize(("arguments", "message"), [
    (["vop"], "there is no layout 'vop'"),
    (["vip", "sizes=3"], "has no option 'sizes'"),
])  # fmt: skip
def test_the_command_says_in_one_line_what_is_wrong(arguments, message, make_synthetic, tmp_path, capsys):
    with pytest.raises(SystemExit):
        make_synthetic.main([*arguments, "--out", str(tmp_path / "new")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
