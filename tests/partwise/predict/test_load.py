import numpy as np
import pytest
import small_networks
import torch
from torch.nn.modules.module import register_module_forward_hook

from partwise.checkpoints.loading import KEY
from partwise.labels import VIP, LabelSet
from partwise.predict.load import load_parser


def save(file, description, label_set, image_size):
    about = {"experiment": "any", "network": description, "label_set": label_set.state(), "image_size": image_size}
    weights = small_networks.build(description).state_dict()
    torch.save({"state_dict": {f"network.{name}": value for name, value in weights.items()}, KEY: about}, file)
    return file


@pytest.mark.parametrize("fast", [False, True])
def test_a_detector_runs_in_the_type_and_layout_of_the_parser(tmp_path, fast):
    five = LabelSet("five", tuple("abcde"))
    tcnet = save(tmp_path / "tcnet.ckpt", small_networks.tcnet(), five, [*small_networks.SIZE])
    found = save(tmp_path / "rcnn.ckpt", small_networks.parsing_rcnn(), VIP, 64)
    options = {"bfloat16": fast, "channels_last": fast}
    parser = load_parser(tcnet, torch.device("cpu"), detector=str(found), **options)
    seen = set()

    def note(module, inputs, output):
        # With one input channel or one pixel both layouts are one; without RoIs the mask head stays in float32.
        if (
            isinstance(module, torch.nn.Conv2d)
            and module.in_channels > 1
            and module.kernel_size > (1, 1)
            and len(output)
        ):
            seen.add((output.dtype, module.weight.is_contiguous(memory_format=torch.channels_last)))

    hook = register_module_forward_hook(note)
    try:
        list(parser.stream([np.zeros((64, 48, 3), np.uint8)]))
    finally:
        hook.remove()
    assert seen == {(torch.bfloat16 if fast else torch.float32, fast)}
