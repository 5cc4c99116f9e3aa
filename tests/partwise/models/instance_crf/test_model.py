"""The Instance CRF as a whole at a tiny size, and what the paper promises of it."""

import json

import pytest
import small_networks
import torch
import torch.nn.functional as F

from partwise.batches import map_of
from partwise.errors import InputError
from partwise.models.instance_crf.detectors import Detections, FileBoxes, NetworkBoxes, TorchvisionBoxes, TrueBoxes
from partwise.models.instance_crf.model import InstanceCRF
from partwise.models.instance_crf.readout import read_out
from partwise.nn.crf import DenseCRF
from partwise.nn.dense import ImageParser
from partwise.nn.losses import hardest_mean
from partwise.nn.pyramid import PyramidParser
from partwise.ops.resize import Letterbox

SIZE = (33, 41)
WHOLE = Letterbox.fit(SIZE, SIZE)


class Known(ImageParser):
    """A category-level module that knows the parts: they are the images' red values, in tenths."""

    def logits(self, images):
        return 4 * F.one_hot((images[:, 0] * 10).round().long(), 4).movedim(-1, 1).float()


class Given(torch.nn.Module):
    """A detector that returns what it is given."""

    def __init__(self, *found):
        super().__init__()
        self.found = found

    def forward(self, batch):
        return list(self.found)


def network(**options):
    torch.manual_seed(0)
    semantic = PyramidParser(3, "resnet18", "none", width=8, backbone_multiplier=0.125, norm=True)
    return InstanceCRF(semantic, TrueBoxes(), DenseCRF(), **options)


def batch():
    parts, persons = torch.zeros(2, 2, *SIZE, dtype=torch.int64)
    parts[:, 4:20, 2:12], persons[:, 4:20, 2:12] = 1, 1
    parts[0, 4:20, 20:34], persons[0, 4:20, 20:34] = 2, 2  # the second image has one person
    images = torch.stack([parts, persons, parts], 1) / 2
    return {"images": images, "parts": parts, "instances": persons, "index": [0, 1], "sample_ids": ["a", "b"]}


def test_it_learns_images_of_different_numbers_of_persons():
    model, data = network(), batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    history = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = model.losses(data)["instance"]
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.6 * history[0]
    assert (model.unary.w != 1).all()
    assert (model.crf.weights != torch.tensor([8.0, 2.0])).all()
    parsings = model.eval().parse(data, [WHOLE] * 2)
    assert [p["parts"].shape for p in parsings] == [SIZE, SIZE]


@pytest.mark.parametrize("missed", [0.0, 1.0])
def test_every_parameter_takes_part_in_every_step(missed):
    model = network()
    model.detector.missed = missed
    model.losses(batch())["instance"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_without_detections_all_is_background():
    model, data = network().eval(), batch()
    model.detector.missed = 1.0
    for parsing in model.parse(data, [WHOLE] * 2):
        assert not parsing["parts"].any()
        assert parsing["boxes"].shape == (0, 4)


def test_a_category_level_module_that_is_not_trained_stays_as_it_is():
    model = network(end_to_end=False).train()
    before = {k: v.clone() for k, v in model.semantic.state_dict().items()}
    model.losses(batch())["instance"].backward()
    assert all(torch.equal(v, before[k]) for k, v in model.semantic.state_dict().items())
    assert all(p.grad is None for p in model.semantic.parameters())
    assert model.unary.w.grad is not None


def limbs():
    """A person of parts 1 and 2, whose arm of part 2 reaches to the right, on an even ground."""
    image = torch.zeros(3, *SIZE)
    image[0, 8:30, 8:16], image[0, 12:16, 16:28] = 0.1, 0.2
    return image


def labels_of(image, boxes, scores, **options):
    model = InstanceCRF(Known(), Given(Detections(boxes, scores)), DenseCRF(), **options).eval()
    return model.parse({"images": image[None], "index": [0], "sample_ids": [""]}, [WHOLE])[0]


def test_the_global_term_recovers_a_limb_outside_of_its_box():
    box, score = torch.tensor([[7.0, 7, 18, 31]]), torch.tensor([0.9])
    arm = torch.zeros(SIZE, dtype=torch.bool)
    arm[12:16, 16:28] = True
    with_it, without = (labels_of(limbs(), box, score, global_term=term) for term in (True, False))
    assert (map_of(with_it["persons"])[arm] == 1).all()
    assert (map_of(without["persons"])[:, 20:] == 0).all()
    assert (map_of(without["persons"])[8:30, 8:16] == 1).all()


def test_a_false_positive_stays_empty():
    boxes = torch.tensor([[7.0, 7, 30, 31], [30, 2, 40, 20]])
    found = labels_of(limbs(), boxes, torch.tensor([0.9, 0.9]))
    assert len(found["persons"]["classes"]) == 1
    assert torch.equal(found["boxes"], torch.tensor([[7.0, 7, 31, 32]]))


@pytest.mark.parametrize("count", [1, 12])
def test_permuting_detections_renumbers_the_persons(count):
    image = torch.randint(0, 4, (1, *SIZE), generator=torch.Generator().manual_seed(0)).expand(3, -1, -1) / 10
    low = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 20
    boxes, scores = torch.cat([low, low + 12], 1), torch.linspace(0.5, 1, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2))
    model = InstanceCRF(Known(), Given(), DenseCRF())
    Q = model.semantic.logits(image[None]).softmax(1)[0]
    u = model.potentials(Q, image, Detections(boxes, scores))
    permuted = model.potentials(Q, image, Detections(boxes[order], scores[order]))
    torch.testing.assert_close(permuted[1:].unflatten(0, (count, 3)), u[1:].unflatten(0, (count, 3))[order])
    parsed = read_out(u.argmax(0), Q, boxes)  # one label a pixel: nobody shares one
    assert (map_of(parsed["persons"]).max(), parsed["parts"].max()) == (len(parsed["persons"]["classes"]), 3)


def test_true_boxes_are_those_of_the_persons_and_follow_from_the_name():
    exact = TrueBoxes()(batch())
    assert exact[0].boxes.tolist() == [[2, 4, 11, 19], [20, 4, 33, 19]]
    spoilt = TrueBoxes(jitter=0.2, truncated=0.5, spurious=2.0)
    for a, b in zip(spoilt(batch()), spoilt(batch()), strict=True):
        assert torch.equal(a.boxes, b.boxes)
        assert (a.boxes >= 0).all()
        assert (a.boxes <= torch.tensor([40, 32, 40, 32])).all()
        assert ((a.scores >= 0.5) & (a.scores <= 1)).all()
    many = [TrueBoxes(missed=0.5, spurious=1.0, seed=n)(batch()) for n in range(200)]
    true = sum(int((found.scores >= 0.7).sum()) for image in many for found in image)
    false = sum(int((found.scores < 0.7).sum()) for image in many for found in image)
    assert true / 600 == pytest.approx(0.5, abs=0.08)
    assert false / 400 == pytest.approx(1.0, abs=0.15)


def test_true_boxes_of_a_video_are_not_known():
    with pytest.raises(InputError, match="no true persons"):
        next(network().eval().stream([torch.rand(1, 3, *SIZE)], WHOLE))


def test_a_networks_boxes_are_its_detections_on_the_images_own_pixels():
    rcnn = small_networks.build(small_networks.parsing_rcnn())
    torch.nn.init.constant_(rcnn.heads.roi_heads.mask_head.whole.bias, 9)
    detector = NetworkBoxes(rcnn, 64, least=0.2).train()
    assert not detector.training
    assert not detector.network.training
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    found = detector({"images": images, "index": [0, 1], "sample_ids": ["a", "b"]})
    assert all(len(each.boxes) for each in found)
    for each in found:
        assert (each.scores >= 0.2).all()
        assert (each.boxes >= -1).all()
        assert (each.boxes <= torch.tensor([40, 32, 40, 32])).all()
    one = detector({"images": images[1:], "index": [1], "sample_ids": ["b"]})[0]
    torch.testing.assert_close(one.boxes, found[1].boxes, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="parses no persons"):
        NetworkBoxes(small_networks.build(small_networks.parsing_rcnn(persons=False)), 64)


def test_boxes_of_a_file_are_those_of_the_picture_at_the_canvas_size(tmp_path):
    file = tmp_path / "found.json"
    row = {"category_id": 1, "score": 0.9}
    file.write_text(json.dumps([
        {**row, "image_id": 2008000003, "bbox": [4, 8, 20, 40]},
        {**row, "image_id": 2008000003, "bbox": [5, 8, 20, 40], "score": 0.6},  # the same person
        {**row, "image_id": 2008000003, "bbox": [50, 8, 10, 10], "score": 0.4},
        {**row, "image_id": 2008000003, "bbox": [50, 8, 10, 10], "category_id": 18},
        {**row, "image_id": 6, "bbox": [0, 0, 80, 64]},
        {**row, "image_id": 7, "file_name": "JPEGImages/other.jpg", "bbox": [0, 0, 80, 64]},
    ]))  # fmt: skip
    detector = FileBoxes(str(file), TrueBoxes()).eval()
    native = [{"parts": torch.zeros(size, dtype=torch.long)} for size in [(64, 80)] * 4]
    found = detector({"images": torch.rand(4, 3, *SIZE), "sample_ids": ["2008_000003", "other", "nobody", "0000006"],
                      "annotations": native, "index": [0, 1, 2, 3]})  # fmt: skip
    scale = min(SIZE[0] / 64, SIZE[1] / 80)
    top, left = ((side - round(n * scale)) // 2 for side, n in zip(SIZE, (64, 80), strict=True))
    x, y = round(80 * scale) / 80, round(64 * scale) / 64
    want = torch.tensor([[4 * x + left, 8 * y + top, 24 * x + left - 1, 48 * y + top - 1]])
    torch.testing.assert_close(found[0].boxes, want)
    torch.testing.assert_close(found[0].scores, torch.tensor([0.9]))
    assert [len(each.boxes) for each in found] == [1, 1, 0, 1]
    assert found[1].boxes[0].tolist() == [left, top, left + 80 * x - 1, top + 64 * y - 1]
    assert torch.equal(detector.train()(batch())[0].boxes, TrueBoxes()(batch())[0].boxes)  # augmentation moves pictures


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "found.json"), ('[{"image_id": 1, "category_id": 1, "score": 1}]', "result 1 has no bbox")],
)
def test_a_file_of_boxes_that_cannot_be_read_says_so(tmp_path, content, says):
    (tmp_path / "found.json").write_text(content)
    detector = FileBoxes(str(tmp_path / "found.json"), TrueBoxes()).eval()
    annotations = [{"parts": torch.zeros(SIZE, dtype=torch.long)}]
    with pytest.raises(InputError, match=says):
        detector({"images": torch.rand(1, 3, *SIZE), "sample_ids": ["1"], "annotations": annotations, "index": [0]})
    with pytest.raises(InputError, match="labelled pictures"):
        detector({"images": torch.rand(1, 3, *SIZE), "sample_ids": ["1"], "index": [0]})


def test_torchvisions_detector_finds_persons_alone_and_stays_as_it_is():
    detector = TorchvisionBoxes("none", least=0.0).train()
    detector.network.transform.min_size = (64,)  # 800 takes longer
    detector.network.roi_heads.detections_per_img = 10_000  # of an untrained network, some are persons
    assert not detector.network.training
    assert not any(p.requires_grad for p in detector.parameters())
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    (found,) = detector({"images": images, "index": [0], "sample_ids": ["a"]})
    (everything,) = detector.network(list(images))
    persons = everything["labels"] == 1
    assert 0 < len(found.boxes) == persons.sum() < len(persons)
    torch.testing.assert_close(found.scores, everything["scores"][persons])


def test_the_hardest_pixels_are_those_that_a_sort_finds():
    losses = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    valid[0, 0] = False
    valid[1].view(-1)[3:] = False  # three are left
    want = torch.cat([losses[0][valid[0]].sort(descending=True).values[:6], losses[1][valid[1]]]).mean()
    torch.testing.assert_close(hardest_mean(losses, valid, 0.3), want)
    torch.testing.assert_close(hardest_mean(losses, valid, None), losses[valid].mean())
    assert hardest_mean(losses, ~valid & False, 0.3) == 0
