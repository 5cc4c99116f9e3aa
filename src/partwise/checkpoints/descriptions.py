"""Conversion of network descriptions that older versions wrote to the current form.

Up to 0.2.0 a network's arguments were flat: ATEN itself took its backbone's name and its box head's width. Now it takes
the networks that it is made of. The names of the weights are unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Description = dict[str, Any]

NN, MODELS = "partwise.nn.", "partwise.models."


def upgraded(description: Any) -> Any:
    """Convert a checkpoint's description of its network to the current form.

    Args:
        description: what the checkpoint holds, of any type, unchecked.

    Returns:
        the description with nested networks as arguments; anything but a known flat description is returned unchanged.
    """
    if type(description) is not dict or type(target := description.get("_target_")) is not str:
        return description
    nested, upgrade = UPGRADES.get(target, ("", None))
    if upgrade is None or nested in description:
        return description
    given = dict(description)
    try:
        network = {"_target_": given.pop("_target_"), **upgrade(given)}
    except Exception:  # values may have any type; what cannot be converted is refused later, unchanged
        return description
    return {**network, **given}  # what is left remains an argument


def _take(given: Description, **names: str) -> Description:
    """Move those arguments that are present out of a flat description; `new="old"` also renames them."""
    return {new: given.pop(old) for new, old in names.items() if old in given}


def _feature(given: Description, image_size: Any) -> Description:
    names = {name: name for name in ("backbone", "pretrained", "width", "backbone_multiplier", "norm")}
    size = {} if image_size is None else {"image_size": image_size}
    return {"_target_": f"{NN}deeplab.DeepLabFeature", "norm": False, **_take(given, **names), **size}


def _parsing_rcnn(given: Description) -> Description:
    size = given.pop("image_size", None)
    feature = _feature(given, size)
    heads = _take(given, num_classes="num_classes")
    heads |= {"in_channels": feature.get("width", 256), **({} if size is None else {"image_size": size})}
    of_persons = _take(given, box_width="box_width", rois="rois", proposals="proposals")
    if given.pop("persons", True):
        heads = {"_target_": f"{NN}parsing_rcnn.ParsingHeads", "proposals": 1000, **heads, **of_persons}
    else:
        heads = {"_target_": f"{NN}parsing_rcnn.DenseHeads", **heads}
    return {"feature": feature, "heads": heads}


def _frame(given: Description) -> Description:
    return {"_target_": f"{NN}parsing_rcnn.ParsingRCNN", **_parsing_rcnn(given)}


def _aten(given: Description) -> Description:
    frame = _frame(given)
    width = frame["feature"].get("width", 256)
    flow = _take(given, unit="flow_unit", width="flow_width", size="flow_size")
    # Before `sigmoid` was an argument, sigma was the hard sigmoid.
    sigma, bias = {"sigmoid": given.pop("sigmoid", "hard")}, _take(given, update_bias="update_bias")
    unit = given.pop("encoder", "gru")
    encoder: Description = {"_target_": f"{NN}conv_gru.Mean"}
    if unit == "gru":
        encoder = {"_target_": f"{NN}conv_gru.ConvGRU", "channels": width, **sigma, **bias}
    elif unit == "lstm":
        encoder = {"_target_": f"{NN}conv_gru.ConvLSTM", "channels": width, **sigma}
    if (stride := given.pop("encoder_stride", 1)) != 1:
        encoder = {"_target_": f"{MODELS}aten.model.Coarse", "stride": stride, "encoder": encoder}
    return {
        "frame": frame,
        "flow": {"_target_": f"{MODELS}aten.model.ScaledFlow", "channels": width, **flow},
        "encoder": encoder,
    }


def _fgfa(given: Description) -> Description:
    return {
        "frame": _frame(given),
        "flow": {"_target_": f"{NN}flownet.FlowNetS", **_take(given, width="flow_width")},
    }


def _deeplab(given: Description) -> Description:
    return {"feature": _feature(given, given.pop("image_size", None))}


def _deeplab_v2(given: Description) -> Description:
    names = ("num_classes", "image_size", "pretrained", "width", "backbone_multiplier", "norm")
    return {"_target_": f"{NN}deeplab_v2.DeepLabV2", **_take(given, **{name: name for name in names})}


def _correlation_flow(given: Description, multiplier: Any, norm: Any) -> Description:
    widths = {"channels": round(512 * multiplier), "skip_channels": round(256 * multiplier)}
    options = _take(given, displacement="displacement", width="flow_width")
    return {"_target_": f"{NN}flownet.CorrelationFlow", **widths, **options, "norm": norm}


def _tcnet(given: Description) -> Description:
    frame = _deeplab_v2(given)
    flow = _correlation_flow(given, frame.get("backbone_multiplier", 1.0), frame.get("norm", False))
    return {"frame": frame, "flow": flow}


def _trunk_flow(given: Description) -> Description:
    trunk = _take(given, pretrained="pretrained", multiplier="backbone_multiplier", norm="norm")
    flow = _correlation_flow(given, trunk.get("multiplier", 1.0), trunk.get("norm", False))
    return {"trunk": {"_target_": f"{NN}vgg.VGG", **trunk}, "flow": flow}


def _em_adapt(given: Description) -> Description:
    return {"frame": _deeplab_v2(given)}


def _netwarp(given: Description) -> Description:
    frame, width = _deeplab_v2(given), _take(given, width="flow_width")
    kind = "DIS" if given.pop("flow", "dis") == "dis" else "PlainFlow"
    flow = {"_target_": f"{MODELS}baselines.netwarp.{kind}", **(width if kind == "PlainFlow" else {})}
    return {"frame": frame, "flow": flow}


#: Class -> an argument that only the current form has, and the function that makes nested arguments of flat ones.
UPGRADES: dict[str, tuple[str, Callable[[Description], Description]]] = {
    f"{NN}parsing_rcnn.ParsingRCNN": ("feature", _parsing_rcnn),
    f"{NN}deeplab.DeepLab": ("feature", _deeplab),
    f"{MODELS}aten.model.ATEN": ("frame", _aten),
    f"{MODELS}baselines.fgfa.FGFA": ("frame", _fgfa),
    f"{MODELS}baselines.em_adapt.EMAdapt": ("frame", _em_adapt),
    f"{MODELS}baselines.netwarp.NetWarp": ("frame", _netwarp),
    f"{MODELS}tcnet.model.TCNet": ("frame", _tcnet),
    f"{MODELS}tcnet.task.TrunkFlow": ("trunk", _trunk_flow),
}
