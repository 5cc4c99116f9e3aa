import torch

from partwise.batches import map_of
from partwise.models.instance_crf.readout import read_out


def test_parts_persons_and_part_instances_are_read_off():
    # Of three detections with two parts, the second has no pixels.
    labels = torch.tensor([[0, 1, 1, 5], [2, 2, 6, 6]])
    Q = torch.rand(3, 2, 4).softmax(0)
    boxes = torch.arange(12.0).view(3, 4)
    found = read_out(labels, Q, boxes)
    assert found["parts"].tolist() == [[0, 1, 1, 1], [2, 2, 2, 2]]
    assert map_of(found["persons"]).tolist() == [[0, 1, 1, 2], [1, 1, 2, 2]]
    assert torch.equal(found["boxes"], boxes[[0, 2]])
    assert found["part_instances"]["map"].tolist() == [[0, 1, 1, 3], [2, 2, 4, 4]]
    assert found["part_instances"]["classes"].tolist() == [1, 2, 1, 2]
    torch.testing.assert_close(found["part_instances"]["scores"][0], Q[1][labels == 1].mean())
    torch.testing.assert_close(found["persons"]["scores"][1], (1 - Q[0])[labels > 4].mean())


def test_nobody_is_no_person():
    found = read_out(torch.zeros(2, 3, dtype=torch.int64), torch.rand(3, 2, 3), torch.zeros(0, 4))
    assert map_of(found["persons"]).unique().tolist() == [0]
    assert len(found["persons"]["classes"]) == len(found["part_instances"]["classes"]) == len(found["boxes"]) == 0
    whole = read_out(torch.ones(2, 3, dtype=torch.int64), torch.rand(3, 2, 3), torch.zeros(1, 4))
    assert len(whole["persons"]["classes"]) == len(whole["part_instances"]["classes"]) == 1
