"""Descriptions of networks at tiny sizes, as configs and checkpoints hold them, and the networks themselves."""

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

NN, MODELS = "partwise.nn.", "partwise.models."
SIZE = (57, 33)  # of tracklets' crops


def build(description):
    """The network of a description; equal ones have equal weights."""
    torch.manual_seed(0)
    return instantiate(description)


def feature(image_size=64, width=8, backbone_multiplier=0.25, norm=False):
    return {"_target_": f"{NN}deeplab.DeepLabFeature", "backbone": "resnet18", "pretrained": False, "width": width,
            "image_size": image_size, "backbone_multiplier": backbone_multiplier, "norm": norm}  # fmt: skip


def parsing_rcnn(num_classes=20, image_size=64, persons=True, width=8, box_width=16, backbone_multiplier=0.25):
    heads = {"num_classes": num_classes, "in_channels": width, "image_size": image_size}
    if persons:
        heads = {"_target_": f"{NN}parsing_rcnn.ParsingHeads", **heads, "box_width": box_width}
    else:
        heads = {"_target_": f"{NN}parsing_rcnn.DenseHeads", **heads}
    return {"_target_": f"{NN}parsing_rcnn.ParsingRCNN",
            "feature": feature(image_size, width, backbone_multiplier), "heads": heads}  # fmt: skip


def aten(flow=None, encoder=None, frame=None, **options):
    """ATEN; `flow`, `encoder` and `frame` are options of the parts, the rest are its own."""
    frame = parsing_rcnn(**(frame or {}))
    width = frame["feature"]["width"]
    return {
        "_target_": f"{MODELS}aten.model.ATEN",
        "frame": frame,
        "flow": {"_target_": f"{MODELS}aten.model.ScaledFlow", "channels": width, "width": 0.125, **(flow or {})},
        "encoder": encoder or {"_target_": f"{NN}conv_gru.ConvGRU", "channels": width},
        **options,
    }


def fgfa(reach=2, frame=None):
    flow = {"_target_": f"{NN}flownet.FlowNetS", "width": 0.125}
    return {"_target_": f"{MODELS}baselines.fgfa.FGFA", "frame": parsing_rcnn(**(frame or {})), "flow": flow,
            "reach": reach, "embedding": [8, 8, 8]}  # fmt: skip


def deeplab(num_classes=13, image_size=(64, 48), lovasz=0.0, **options):
    return {"_target_": f"{NN}deeplab.DeepLab", "feature": feature(image_size, **options), "num_classes": num_classes,
            "lovasz": lovasz}  # fmt: skip


def deeplab_v2(num_classes=5, image_size=SIZE, width=16, norm=True):
    return {"_target_": f"{NN}deeplab_v2.DeepLabV2", "num_classes": num_classes, "image_size": image_size,
            "pretrained": False, "width": width, "backbone_multiplier": 0.125, "norm": norm}  # fmt: skip


def correlation_flow(norm=True):
    return {"_target_": f"{NN}flownet.CorrelationFlow", "channels": 64, "skip_channels": 32, "displacement": 2,
            "width": 0.0625, "norm": norm}  # fmt: skip


def tcnet(frame=None, norm=True, **options):
    """TCNet; `frame` are options of its frame parser, the rest are its own."""
    return {"_target_": f"{MODELS}tcnet.model.TCNet", "frame": deeplab_v2(norm=norm, **(frame or {})),
            "flow": correlation_flow(norm), **options}  # fmt: skip


def trunk_flow():
    trunk = {"_target_": f"{NN}vgg.VGG", "pretrained": False, "multiplier": 0.125, "norm": True}
    return {"_target_": f"{MODELS}tcnet.task.TrunkFlow", "trunk": trunk, "flow": correlation_flow()}


def netwarp(flow="DIS"):
    width = {"width": 0.0625} if flow == "PlainFlow" else {}
    return {"_target_": f"{MODELS}baselines.netwarp.NetWarp", "frame": deeplab_v2(),
            "flow": {"_target_": f"{MODELS}baselines.netwarp.{flow}", **width}}  # fmt: skip


def em_adapt(**options):
    return {"_target_": f"{MODELS}baselines.em_adapt.EMAdapt", "frame": deeplab_v2(), **options}


def seg_module(kind="nn.deeplab_v3_plus.DeepLabV3Plus"):
    return {"_target_": f"partwise.{kind}", "num_classes": 2, "backbone": "resnet18", "pretrained": False, "width": 8,
            "image_size": 64, "backbone_multiplier": 0.25}  # fmt: skip


def pose2seg_module():
    return seg_module("models.self_supervised.model.Pose2SegModule")


def poses_to_masks():
    return {"_target_": f"{MODELS}self_supervised.model.PosesToMasks", "seg": seg_module(),
            "pose2seg": pose2seg_module()}  # fmt: skip


def pose_module():
    return {"_target_": f"{MODELS}self_supervised.pose_module.PoseModule", "stacks": 1, "depth": 2, "channels": 8,
            "increase": 4, "stem": [8, 8]}  # fmt: skip


def self_supervised():
    return poses_to_masks() | {"_target_": f"{MODELS}self_supervised.model.SelfSupervised", "pose": pose_module()}


def parts(network):
    """A composed network's config and those of the networks within it."""
    yield network
    for value in network.values():
        if OmegaConf.is_dict(value):
            yield from parts(value)


def set_everywhere(network, **values):
    """Set arguments of a composed network and of the networks within it, where they have them."""
    for part in parts(network):
        for key in values.keys() & part.keys():
            part[key] = values[key]


def has_persons(network):
    """Whether a composed network finds persons."""
    return any(str(part.get("_target_")).endswith("ParsingHeads") for part in parts(network))
