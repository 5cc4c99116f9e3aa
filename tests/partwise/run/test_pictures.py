"""The picture at the end of a run: clips show time, stills do not; both show the truth."""

import numpy as np
import small_networks
import torch

from data_modules.loading.contexts import KeyFrames
from data_modules.vip import VIPDataModule
from partwise import viz
from partwise.io.images import read_image
from partwise.labels import VIP
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.models.task import ParsingTask
from partwise.run import pictures
from partwise.run.folder import Run
from partwise.run.pictures import SHOWN, make_pictures

GAP, BETWEEN = 6, 18  # pixels


def drawn(folder, root, network, around, frame=None):
    data = VIPDataModule(root=root, image_size=64, splits={"train": "train"}, around=around, num_workers=0)
    tasks = [None if net is None else ParsingTask(net, VIP, VIPMetrics) for net in (network, frame)]
    torch.manual_seed(0)
    files = make_pictures(Run(folder, resumed=False), data, *tasks)
    return data, read_image(files["overlay picture"], upright=False)


def test_a_clip_is_three_frames_and_the_truth(vip_stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "CLIPS", 6)  # all; the second one has frames before and after it
    frame = small_networks.build(small_networks.parsing_rcnn())
    network = small_networks.build(small_networks.aten())
    data, picture = drawn(tmp_path, vip_stand_in, network, KeyFrames(interval=2, past=1), frame)
    assert picture.shape[1] == 4 * SHOWN + 3 * GAP
    dataset = data.dataset("test")
    target, files = dataset.video(1)
    image = read_image(files[target], upright=False)
    truth = viz.fit(viz.overlay(image, dataset[1]["annotations"], VIP), SHOWN, SHOWN)
    height = len(truth)
    second = picture[2 * height + GAP + BETWEEN :, 3 * (SHOWN + GAP) :]
    without_caption = slice(40, height)
    assert np.abs(second[without_caption].astype(int) - truth[without_caption]).mean() < 8  # JPEG
    assert (second[height + GAP :][:height] < 250).any()  # what the frame model makes of it


def test_a_still_is_the_picture_its_truth_and_its_parse(vip_stand_in, tmp_path):
    _, picture = drawn(tmp_path, vip_stand_in, small_networks.build(small_networks.parsing_rcnn()), None)
    assert 3 * SHOWN + 2 * GAP <= picture.shape[1] <= 6 * SHOWN + 5 * GAP
