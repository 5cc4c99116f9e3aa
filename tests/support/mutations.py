"""Damage to files, and what every reader must make of it: the value, or an InputError of one line."""

import json
import os
import reprlib
import resource
import signal
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from partwise.errors import InputError

#: Damaged files of each kind; PARTWISE_FUZZ=N tries N, other ones every time.
EXAMPLES = int(os.environ.get("PARTWISE_FUZZ", 100))
SECONDS, BYTES = 10.0, 2 << 30  # that reading may take
REFUSED = object()

_WORDS = (
    b"\0",
    b"\xff",
    b"\n",
    b"\r",
    b"-",
    b" ",
    b",",
    b'"',
    b"nan",
    b"1e999",
    b"9" * 30,
    b"\xef\xbb\xbf",
    b"${oc.env:HOME}",
)
_DEEP = "@deep@"  # stands for lists within lists, deeper than a recursion gets
_ODD = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 2**64, -(2**31), 10**400, 0.5, -0.0, 1e300, float("nan"), float("inf"),
    "", "a", "1", "nan", "a\nb", "\0", "\ud800", "x" * 500, "../../x", "${oc.env:HOME}", _DEEP,
    [], {}, [[]], [None], {"a": 1}, [1, "a"], [0] * 40,
)  # fmt: skip


class Content(bytes):
    """Bytes of a file, shown shortened."""

    def __repr__(self) -> str:
        return reprlib.repr(bytes(self))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw the bytes of a file with one to three faults: flips, cuts, insertions, blocks lost, repeated or swapped."""
    content = whole
    for _ in range(draw(st.integers(1, 3))):
        at, size = draw(st.integers(0, len(content))), draw(st.integers(1, 64))
        before, block, after = content[:at], content[at : at + size], content[at + size :]
        other = draw(st.integers(0, len(after)))
        content = draw(
            st.sampled_from(
                (
                    before + bytes([block[0] ^ 1 << size % 8]) + block[1:] + after if block else before,
                    before,
                    before + draw(st.binary(min_size=len(block), max_size=len(block))) + after,
                    before + draw(st.sampled_from(_WORDS)) + block + after,
                    before + after,
                    before + block * 2 + after,
                    before + after[:other] + block + after[other:],
                    before + b"\0" * len(block) + after,
                    before + b"\xff" * len(block) + after,
                )
            )
        )
    return Content(content)


@st.composite
def altered(draw: st.DrawFn, whole: Any) -> Any:
    """Draw plain containers of which one or two values are odd, missing, repeated, renamed or exchanged."""
    content = [deepcopy(whole)]
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(content))
        owner, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("odd", "odd", "odd", "missing", "repeated", "renamed", "exchanged"))):
            case "missing" if owner is not content:
                del owner[key]
            case "repeated" if isinstance(owner, list) and owner is not content:
                owner.insert(key, deepcopy(owner[key]))
            case "renamed" if isinstance(owner, dict):
                owner[draw(st.sampled_from(("", "a", "id", f"{key} ")))] = owner.pop(key)
            case "exchanged":
                other, there = draw(st.sampled_from(places))
                owner[key] = deepcopy(other[there])
            case _:
                owner[key] = deepcopy(draw(st.sampled_from(_ODD)))
    return content[0]


def altered_json(whole: bytes) -> st.SearchStrategy[bytes]:
    """Draw a json whose bytes or values are damaged; the latter are YAML, too."""
    return st.one_of(damaged(whole), altered(json.loads(whole)).map(_as_json))


def attempt(read: Callable[[], Any]) -> Any:
    """Read within limits of time and memory; REFUSED after an InputError of one line."""
    try:
        with _limits(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except InputError as error:
        message = str(error)
        assert message.strip()
        assert len(message.splitlines()) == 1, message
        assert len(message) < 2000, message
        return REFUSED


def fuzz(
    read: Callable[[Path], Any],
    file: Path,
    damage: Callable[[bytes], st.SearchStrategy[bytes]] = damaged,
    *,
    verified: bool = False,
    examples: int = EXAMPLES,
) -> None:
    """Read a file damaged in many ways: every one is read or refused.

    Args:
        read: reader of `file`.
        file: a whole file, which is overwritten.
        damage: makes a strategy of its content.
        verified: the format has checksums: what is read must be equal to the whole file's value.
        examples: number of damaged files.
    """
    whole = file.read_bytes()
    expected = attempt(lambda: read(file))
    assert expected is not REFUSED, "the whole file is refused"
    times = iter(range(1, 1 << 30))

    @limited(examples)
    @given(damage(whole))
    def check(content: bytes) -> None:
        file.write_bytes(content)
        os.utime(file, ns=(0, next(times) * 1000))  # readers keep what they read of an unchanged file
        found = attempt(lambda: read(file))
        if verified and found is not REFUSED:
            note(f"found {reprlib.repr(found)}")
            assert same(found, expected), "a changed value is read in silence"

    check()


def limited(examples: int = EXAMPLES) -> settings:
    """Settings of a test: the same examples every time unless PARTWISE_FUZZ asks for others."""
    return settings(
        max_examples=examples, derandomize="PARTWISE_FUZZ" not in os.environ, database=None, deadline=None,
        print_blob=True, suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip


def same(one: Any, two: Any) -> bool:
    """Compare containers, arrays and tensors."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return one.dtype == two.dtype and np.array_equal(one, two)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


def _places(owner: Any) -> Any:
    """Yield every container within `owner`, itself first, with each of its keys."""
    for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
        yield owner, key
        if isinstance(owner[key], dict | list):
            yield from _places(owner[key])


def _as_json(value: Any) -> bytes:
    return Content(json.dumps(value).replace(f'"{_DEEP}"', "[" * 5000 + "]" * 5000).encode())


@contextmanager
def _limits() -> Any:
    """Limit the time and the memory of a block."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"it took {SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
