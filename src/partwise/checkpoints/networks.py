"""Building of networks from descriptions in checkpoints, which may come from anywhere.

A description may hold plain values and partwise's own modules. Hydra's `instantiate` calls whatever a `_target_` names,
so it is not used here.
"""

from __future__ import annotations

import importlib
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from partwise.checkpoints.reading import UnfitError, short
from partwise.errors import InputError

TARGET = "_target_"
PATH = re.compile(r"partwise\.(nn|models)(\.[a-z][a-z0-9_]*)+\.[A-Z]\w*")  # matches the path of a network's class

# Limits far beyond any network of the suite, which bound the time that a description can take.
LARGEST = 16_384  # largest number
LONGEST = 256  # longest list or string
MOST = 256  # number of values, those of nested modules included
DEEPEST = 8  # depth of nested modules, lists and dictionaries


def build(description: object, weights: Mapping[str, Any], where: str | Path) -> nn.Module:
    """Build the network of a description and load its weights.

    Nothing but partwise is imported, and nothing is built at full size before shapes have been checked.

    Args:
        description: `_target_`, the path of the network's class, and its arguments. An argument is a plain value or
            again such a description.
        weights: state dict of the network, of checked tensors.
        where: the file that both come from, named in messages.

    Returns:
        the network, on the CPU, in evaluation mode.

    Raises:
        InputError: the description names anything but a network of partwise, holds other than plain values, or does not
            fit the weights.
    """
    try:
        check(description)
        with torch.device("meta"), _at_most(4 * len(weights) + 64):  # shapes without memory; some are built and dropped
            planned = _construct(description)
        if not isinstance(planned, nn.Module):
            raise UnfitError("it describes no network")
        check_weights(planned, weights)
        network: nn.Module = _construct(description)
        network.load_state_dict(weights)
    except UnfitError as error:
        raise InputError(f"{where} is refused: {error}") from error
    except InputError as error:  # from a constructor, which does not know the file
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # constructors may raise anything on nonsensical arguments
        text = " ".join(str(error).split())[:120]
        raise InputError(
            f"{where} describes a network that cannot be built ({type(error).__name__}: {text})"
        ) from error
    return network.eval()


def check(description: object) -> None:
    """Check that a description holds only plain values and targets that are networks of partwise.

    Args:
        description: what a checkpoint holds, of any type.

    Raises:
        UnfitError: it does not.
    """
    if type(description) is not dict or TARGET not in description:
        raise UnfitError(f"its network is no dictionary with a {TARGET}")
    waiting: list[tuple[object, int]] = [(description, 0)]
    for seen, (value, depth) in enumerate(waiting):
        if seen >= MOST or depth > DEEPEST:
            raise UnfitError(f"its network has more than {MOST} arguments, or is nested deeper than {DEEPEST}")
        if type(value) is dict:
            _check_keys(value)
            waiting += [(v, depth + 1) for v in value.values()]
        elif type(value) in (list, tuple) and len(value) <= LONGEST:  # type: ignore[arg-type]
            waiting += [(v, depth + 1) for v in value]  # type: ignore[attr-defined]
        else:
            _check_value(value)


def _check_keys(values: dict[Any, Any]) -> None:
    for key in values:
        if type(key) is not str or (key != TARGET and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,99}", key)):
            raise UnfitError(f"its network has an argument {short(key)}, which is no argument's name")
    if TARGET in values:
        network_class(values[TARGET])


def _check_value(value: object) -> None:
    if isinstance(value, (bool, NoneType)):
        return
    if type(value) is str and len(value) <= LONGEST and "${" not in value and value.isprintable():
        return
    if type(value) in (int, float) and math.isfinite(value) and abs(value) <= LARGEST:  # type: ignore[arg-type]
        return
    raise UnfitError(f"its network has an argument {short(value)}, which is no plain value or out of any range")


def network_class(target: object) -> type[nn.Module]:
    """Return the class that a target names.

    Only modules of partwise are imported, and a class is accepted only under the path where it is defined: what
    partwise itself imports cannot be reached.

    Args:
        target: path of the class.

    Returns:
        the class.

    Raises:
        UnfitError: the target is no network of partwise.
    """
    found = None
    if isinstance(target, str) and PATH.fullmatch(target):
        module, _, name = target.rpartition(".")
        if Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py").is_file():
            found = vars(importlib.import_module(module)).get(name)
    if (
        not isinstance(found, type)
        or not issubclass(found, nn.Module)
        or issubclass(found, pl.LightningModule)
        or f"{found.__module__}.{found.__qualname__}" != target
    ):
        raise UnfitError(f"it asks for {short(target)}, which is no network of partwise; do not use it")
    return found


def _construct(value: Any) -> Any:
    """Build modules from descriptions, without pre-trained weights; plain values stay as they are."""
    if isinstance(value, (list, tuple)):
        return type(value)(_construct(v) for v in value)
    if not isinstance(value, dict):
        return value
    arguments = {k: _construct(v) for k, v in value.items() if k != TARGET}
    if TARGET not in value:
        return arguments
    network = network_class(value[TARGET])
    hints = typing.get_type_hints(network.__init__)
    for name, argument in arguments.items():
        if name not in hints:
            raise UnfitError(f"{network.__name__} has no argument {name}; the checkpoint comes from another version")
        if not _fits(argument, hints[name]):
            raise UnfitError(f"{network.__name__} takes no {name}={short(argument)}")
    if "pretrained" in hints:
        # The weights follow; left out, it would be ImageNet's.
        arguments |= {"pretrained": "none", **({"weights": None} if "weights" in hints else {})}
    return network(**arguments)


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Stop a network's construction, which may loop, once it has more parameters than its weights allow."""
    seen = 0

    def note(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen > count:
            raise UnfitError("its weights do not fit its network, which has more parameters")

    hook = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        hook.remove()


def _fits(value: Any, hint: Any) -> bool:
    """Check whether a value has the type of an argument; sizes and counts are not negative."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or origin in (Union, UnionType):
        return hint is Any or any(_fits(value, option) for option in inner)
    if origin is Literal:
        return value in inner
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(v, inner[0]) for v in value)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(_fits(v, inner[1]) for v in value.values())
    if hint in (int, float):
        numbers = (int,) if hint is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and (hint is float or value >= 0)
    return isinstance(hint, type) and isinstance(value, hint)


def check_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Check that weights fit a module by name, shape and kind of number: real numbers of any precision are one kind.

    Args:
        module: to be given the weights; it may be on the meta device.
        weights: state dict.

    Raises:
        UnfitError: they do not fit; the first three that differ are named.
    """
    expected = {name: _kind(tensor) for name, tensor in module.state_dict().items()}
    found = {name: _kind(tensor) for name, tensor in weights.items()}
    differ = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if differ:
        said = "; ".join(
            f"{short(name)} is {found.get(name, 'missing')}, not {expected.get(name, 'there')}" for name in differ[:3]
        )
        raise UnfitError(
            f"its weights do not fit {type(module).__name__} ({said}; {len(differ)} in all): "
            "it comes from another version or model"
        )


def _kind(tensor: Tensor) -> str:
    """Describe the shape of a tensor, and the type of its numbers unless they are real."""
    shape = "x".join(map(str, tensor.shape)) or "one number"
    return shape if tensor.is_floating_point() else f"{shape} of {str(tensor.dtype).removeprefix('torch.')}"
