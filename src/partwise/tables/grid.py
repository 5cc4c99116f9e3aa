"""Sweep files in Weights & Biases' format: read whole, or refused in one line before anything runs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from partwise.errors import InputError

Cell: TypeAlias = dict[str, Any]  # value of each parameter

LISTED = ("values", "value", "parameters")
#: Distributions of Weights & Biases that list their values.
LISTS = (None, "categorical", "constant")
#: What Hydra reads as one string where it stands in a list or dictionary, interpolations included.
PLAIN = re.compile(r"[\w./+\-]+|\$\{.*\}|\[.*\]|\{.*\}|'.*'|\".*\"")


@dataclass(frozen=True)
class Sweep:
    """A grid.

    Attributes:
        name: of the file, without suffix.
        metric: key of metrics.json that the table shows first.
        fixed: parameters that all cells share.
        grid: parameters and their values.
    """

    name: str
    metric: str
    fixed: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]

    def cells(self) -> list[Cell]:
        """Return every combination, the last parameter varying fastest."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


def read_sweep(file: str | Path) -> Sweep:
    """Read a grid in Weights & Biases' format.

    Nested parameters become dotted ones.

    Args:
        file: YAML with method, metric.name and parameters.

    Raises:
        InputError: the file is missing, is no YAML, or holds no grid.
    """
    file = Path(file)
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
        if content["method"] != "grid":
            raise InputError(f"{file}: method is {content['method']!r}; only grid can be run here")
        parameters = dict(_parameters(file, content["parameters"]))
        return Sweep(
            name=file.stem,
            metric=content["metric"]["name"],
            fixed={key: p["value"] for key, p in parameters.items() if "value" in p},
            grid={
                key: [override(v) if isinstance(v, list | dict) else v for v in p["values"]]  # cells are compared
                for key, p in parameters.items()
                if "values" in p
            },
        )
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); name a file of experiments/sweeps") from error
    except (
        YAMLError,
        OmegaConfBaseException,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file} is no grid of Weights & Biases ({reason}); it needs method, metric.name and parameters"
        ) from error


def _parameters(file: Path, parameters: Any, above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted names and what the file says of them: `value` or `values`."""
    for name, about in parameters.items():
        key = f"{above}{name}"
        known = about if isinstance(about, dict) else {}
        further = known.keys() - {*LISTED, "distribution"}
        if further or known.get("distribution") not in LISTS:
            raise InputError(
                f"{file}: parameter {key} has {', '.join(sorted(map(str, further))) or 'a distribution'}, "
                "which a grid does not draw from; list its values: [...]"
            )
        listed = [word for word in LISTED if word in known]
        if len(listed) != 1:
            raise InputError(f"{file}: parameter {key} is {about}; write one of value, values or nested parameters")
        if listed == ["parameters"]:
            yield from _parameters(file, about["parameters"], f"{key}.")
            continue
        if listed == ["values"]:
            _check_values(file, key, about["values"])
        yield key, about


def _check_values(file: Path, key: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise InputError(f"{file}: values of parameter {key} are {values}; write a list of at least one")
    written = [override(value) for value in values]
    twice = next((text for text in written if written.count(text) > 1), None)
    if twice is not None:
        raise InputError(f"{file}: parameter {key} has the value {twice} twice; a cell is run once")


def override(value: Any) -> str:
    """Write a value as Hydra's command line takes it; text stays as it is, as it may be Hydra's grammar itself."""
    return value if isinstance(value, str) else _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_inner, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_inner(key)}:{_inner(content)}' for key, content in value.items())}}}"
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return "'" + re.sub(r"(\\*)'", r"\1\1\'", value) + "'"
    return value if isinstance(value, str) else json.dumps(value)
