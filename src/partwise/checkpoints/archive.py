"""Checks of a file of `torch.save` before torch reads it: a zip archive with a pickle that says what to build.

`torch.load(weights_only=True)` runs no foreign code, but it verifies no checksums, and a pickle of some kB can make it
allocate any amount of memory, compute for ever or overflow the stack.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from typing import Any, BinaryIO

MOST_ENTRIES = 100_000  # a network has some hundred tensors, and its optimizer a few for each
LARGEST_PICKLE = 8 << 20  # bytes; a checkpoint of the suite has 0.1 MB
LARGEST_TUPLE = 10_000  # values of a tuple, those of nested tuples included

#: What a checkpoint is built with, as module and name.
BUILDERS = re.compile(
    r"torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage|torch Size|torch \w*float\d+|"
    r"torch\._utils _rebuild_(tensor_v2|parameter)|collections (OrderedDict|Counter)|(__builtin__|builtins) set"
)


def check_archive(file: BinaryIO, size: int) -> None:
    """Check that a file is an intact archive of `torch.save`, which reading does not enlarge.

    Args:
        file: open file.
        size: its size in bytes.

    Raises:
        ValueError: it is not; the message says why.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("it is empty" if size == 0 else "it was cut short, or is no file of torch.save")
    with zipfile.ZipFile(file) as archive:
        # Where bytes precede an archive `zipfile` corrects offsets and torch does not: it would read other entries.
        if _directory(file, size) != archive.start_dir:
            raise ValueError("something precedes or follows its archive")
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > size:
            raise ValueError("it claims to hold more than its size")
        names = [entry.filename.lower() for entry in entries]  # torch ignores case
        if len(set(names)) < len(names):
            raise ValueError("two of its entries have one name")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is damaged")
        pickles = [entry for entry, name in zip(entries, names, strict=True) if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > LARGEST_PICKLE:
            raise ValueError("it is no file of torch.save, or one of millions of values")
        check_pickle(archive.read(pickles[0]))


def _directory(file: BinaryIO, size: int) -> int | None:
    """Return the offset of the list of entries that the last bytes of a file state; None if they do not end an archive.

    The last 22 bytes are the end record; before it a large archive has a record of 56 bytes and its locator of 20.
    """
    file.seek(max(0, size - 98))
    tail = file.read(98).rjust(98, b"\0")
    large, locator, end = tail[:56], tail[56:76], tail[76:]
    if not end.startswith(b"PK\5\6"):
        return None
    if not locator.startswith(b"PK\6\7"):
        return int.from_bytes(end[16:20], "little")
    stated = int.from_bytes(locator[8:16], "little")
    return int.from_bytes(large[48:56], "little") if stated == size - 98 and large.startswith(b"PK\6\6") else None


def check_pickle(data: bytes) -> None:
    """Check that a pickle builds only tensors and plain containers, and tuples that can be hashed.

    A hash, as of a dictionary's key, visits every value of a tuple: as often as shared tuples repeat, and on the stack
    of the process as deep as they are nested.

    Args:
        data: the pickle.

    Raises:
        ValueError: it builds something else.
    """
    stack: list[int | None] = []  # number of values of each tuple, 1 for anything else, None for a mark
    memo: dict[Any, int | None] = {}
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL" and not BUILDERS.fullmatch(str(argument)):
            raise ValueError(f"it asks for {str(argument)[:60].replace(' ', '.')}")
        if opcode.name.endswith("BINPUT"):
            memo[argument] = stack[-1]
        elif opcode.name.endswith("BINGET"):
            stack.append(memo[argument])
        else:
            held = 1 + sum(_pop(stack, [kind.name for kind in opcode.stack_before]))
            if opcode.name.startswith("TUPLE") and held > LARGEST_TUPLE:
                raise ValueError("it holds tuples of tuples without end")
            values = [held if opcode.name.startswith("TUPLE") else 1 for _ in opcode.stack_after]
            stack += [None] if opcode.name == "MARK" else values


def _pop(stack: list[int | None], kinds: list[str]) -> list[int]:
    """Remove what an opcode takes: as many values as it has kinds, or those down to the last mark and those before."""
    popped: list[int | None] = []
    if "mark" in kinds:
        while (value := stack.pop()) is not None:
            popped.append(value)
        kinds = kinds[: kinds.index("mark")]
    popped += [stack.pop() for _ in kinds]
    return [value for value in popped if value is not None]
