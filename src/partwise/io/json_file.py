"""Read a JSON file against a form: types that msgspec decodes, so that every value of the wrong kind is found."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from partwise.errors import InputError

T = TypeVar("T")

#: How files begin that are no text.
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

#: msgspec's messages: what is wrong, and perhaps where.
_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")

_SHOWN = reprlib.Repr()
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxlevel = 4
_SHOWN.maxdict, _SHOWN.maxstring, _SHOWN.maxlong = 3, 60, 60


class _Constant(str):
    """NaN, Infinity or -Infinity, which Python's json writes, shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


class Misfit(Exception):
    """Value of a JSON file that is not of the form.

    Args:
        path: keys, and positions from 0, that lead to the value.
        owners: containers on that path, the whole content first.
        says: what the value is, for a message: "is 3", "is missing".
    """

    def __init__(self, path: Sequence[str | int], owners: Sequence[Any], says: str) -> None:
        super().__init__(path, owners, says)
        self.path, self.owners, self.says = path, owners, says


def read_json(file: Path, form: type[T], occurrences: Callable[[T], Mapping[str, int]] = lambda content: {}) -> T:
    """Read a JSON file.

    The text is UTF-8, or UTF-16 or 32 by its mark. NaN and infinity are no JSON, nor are numbers beyond float64.

    Args:
        file: the file.
        form: type of its content. Fields that a `msgspec.Struct` does not have are skipped.
        occurrences: gives keys and how often they occur in such content at most. Where one occurs more often in the
            text, a key that an object has twice is looked for, of which readers take the last.

    Returns:
        the content.

    Raises:
        InputError: the file is missing, damaged or no JSON, or an object has a key twice.
        Misfit: a value is not of the form.
    """
    try:
        if not file.is_file():
            raise InputError(f"{file} is missing; name a json file")
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error}); make it readable") from error
    if not data.strip():
        raise InputError(f"{file} is damaged or no json (it is empty); write or download it again")
    if packed := next((name for head, name in _PACKED.items() if data.startswith(head)), None):
        raise InputError(f"{file} is damaged or no json (it is packed by {packed}); unpack it")
    try:
        if (encoding := json.detect_encoding(data)) != "utf-8":
            data = data.decode(encoding).encode()
        content = _decode(data, form)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), _loosely(data)) from error
    except (ValueError, RecursionError) as error:
        _find_constant(data, form)
        problem = " ".join(str(error).split())
        raise InputError(f"{file} is damaged or no json ({problem}); write or download it again") from error
    often = any(data.count(f'"{key}"'.encode()) > most for key, most in occurrences(content).items())
    if often and (twice := _key_twice(data)):
        raise InputError(f"{file}: an object has {twice[0]!r} twice, {twice[1]}; keep one")
    return content


def shown(value: Any) -> str:
    """Show a value in one line, shortened."""
    return " ".join(_SHOWN.repr(value).split())


def _decode(data: bytes, form: type[T]) -> T:
    """Decode JSON in UTF-8, also with halves of surrogate pairs: names of files that are not Unicode are written so."""
    try:
        return msgspec.json.decode(data, type=form)
    except msgspec.DecodeError as error:
        if "surrogate" not in str(error):
            raise
    content = json.loads(data)
    json.dumps(content, allow_nan=False)  # raises ValueError at NaN and infinity, which Python reads
    return msgspec.convert(content, form, str_keys=True)


def _loosely(data: bytes) -> Any:
    """The content as Python's reader takes it, NaN and infinity as `_Constant`; None if that cannot read it."""
    try:
        return json.loads(data, parse_constant=_Constant)
    except (ValueError, RecursionError):
        return None


def _key_twice(data: bytes) -> tuple[str, str] | None:
    """A key that an object has twice, and the two values; None if there is none."""
    found: list[tuple[str, str]] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        single = dict(pairs)
        if len(single) < len(pairs) and not found:
            ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
            found.append((key, " and ".join(shown(value) for name, value in pairs if name == key)))
        return single

    json.loads(data, object_pairs_hook=look)
    return found[0] if found else None


def _find_constant(data: bytes, form: Any) -> None:
    """Raise Misfit if all that is wrong with a JSON is NaN or infinity for a number of the form."""
    content = _loosely(data)
    if content is not None:
        try:
            msgspec.convert(content, form)
        except msgspec.ValidationError as error:
            raise _misfit(str(error), content) from error
        except UnicodeEncodeError:  # half a surrogate pair, which Python's reader takes
            pass


def _misfit(message: str, content: Any) -> Misfit:
    found = _MESSAGE.fullmatch(message)
    problem, where = (found["problem"], found["path"] or "") if found else (message, "")
    path: list[str | int] = [int(at) if at else key for key, at in re.findall(r"\.(\w+)|\[(\d+)\]", where)]
    owners, value = [content], content
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):  # the content could not be read again
            says = f"is wrong ({problem})"
            break
        owners.append(value)
    else:
        says = f"is {shown(value)}"
    if absent := _MISSING.fullmatch(problem):
        return Misfit([*path, absent[1]], owners, "is missing")
    return Misfit(path, owners[: len(path)], says)
