"""Files that are damaged, or made to harm whoever reads them, never reach torch."""

import random
import subprocess
import sys
import warnings
import zipfile

import pytest
import torch

from partwise.checkpoints.archive import LARGEST_TUPLE, check_archive
from partwise.checkpoints.reading import read
from partwise.errors import InputError

CONTENT = {"weights": {"a": torch.arange(64.0), "b": torch.ones(2, 3).half()}, "names": ["x", "y"], "on": True,
           "pair": (0.9, 0.99), "step": 7, "large": 1 << 80, "none": None, "set": {1},
           "nested": [{"t": ((1, 2), (3,))}]}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    torch.save(CONTENT, tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


def refused(file):
    with pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).isprintable()
    assert str(file) in str(caught.value)
    return str(caught.value)


def entries(file):
    with zipfile.ZipFile(file) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def rewrite(file, *content):
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in content:
            archive.writestr(name, data)


def with_pickle(file, data):
    rewrite(file, *((name, data if name.endswith("data.pkl") else old) for name, old in entries(file).items()))


def same(left, right):
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def test_plain_content_comes_back(file):
    assert same(read(file), CONTENT)


def test_no_flipped_bit_changes_what_is_read(file):
    whole, chance = file.read_bytes(), random.Random(0)
    refusals = 0
    for _ in range(1500):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        try:
            assert same(read(file), CONTENT)
        except InputError:
            refusals += 1
    assert refusals > 300  # much of a small file is padding


def test_no_cut_file_is_read(file):
    whole = file.read_bytes()
    for end in range(0, len(whole), 61):
        file.write_bytes(whole[:end])
        refused(file)


TUPLES = {  # each is the key of a dictionary, so that it is hashed
    "deep": b")" + b"\x85" * 10**6,
    "shared": b")" + b"q\0h\0\x86" * 60,
    "wide and shared": b"(" + b"K\1" * 200 + b"t" + b"".join(b"q\0(" + b"h\0" * 200 + b"t" for _ in range(4)),
    "deep in a mark": b"(" * 20_000 + b"t" * 20_000,
}


@pytest.mark.parametrize("how", TUPLES)
def test_tuples_whose_hash_would_never_end_or_overflow_the_stack_are_refused(how, file):
    with_pickle(file, b"\x80\x02}" + TUPLES[how] + b"K\1s.")
    assert "tuples" in refused(file)


@pytest.mark.process
def test_the_deepest_tuple_can_be_hashed(file):
    with_pickle(file, b"\x80\x02})" + b"\x85" * (LARGEST_TUPLE - 2) + b"K\1s.")
    code = "import sys, pathlib, partwise.checkpoints.reading as r; print(len(r.read(pathlib.Path(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n")


def number(value):
    return b"\x8a\x08" + value.to_bytes(8, "little")


GREEDY = {
    "bytearray": b"cbuiltins\nbytearray\n" + number(10**11) + b"\x85R",
    "bytearray, old name": b"c__builtin__\nbytearray\n" + number(10**11) + b"\x85R",
    "tensor": b"ctorch\nFloatTensor\n" + number(10**11) + b"\x85R",
    "storage": b"ctorch.storage\nUntypedStorage\n" + number(10**11) + b"\x85R",
    "encode": b"c_codecs\nencode\nX\1\0\0\0xX\4\0\0\0idna\x86R",
    "wrapper": b"ctorch._utils\n_rebuild_wrapper_subclass\n",
    "without a storage": b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n",
    "system": b"cposix\nsystem\nX\4\0\0\0true\x85R",
    "system by the stack": b"\x8c\5posix\x8c\6system\x93\x8c\4true\x85R",
    "instance": b"(S'true'\niposix\nsystem\n",
    "an extension": b"\x82\1",
}


@pytest.mark.parametrize("how", GREEDY)
def test_a_pickle_builds_nothing_but_tensors_and_containers(how, file):
    with_pickle(file, b"\x80\x02" + GREEDY[how] + b".")
    refused(file)


@pytest.mark.parametrize(
    "data", [b"", b".", b"\x80\x02", b"\x80\x02h\5.", b"\x80\x02t.", b"\x80\x02s.", b"\xff" * 9, b"q\0."]
)
def test_a_pickle_that_is_none_is_refused(data, file):
    with_pickle(file, data)
    refused(file)


def test_entries_under_one_name_are_refused(file):
    known = list(entries(file).items())
    for more in (known[0], (known[0][0].upper(), b"x"), ("other/DATA.pkl", known[0][1])):
        rewrite(file, *known, more)
        refused(file)


def test_a_claim_to_more_than_the_record_holds_is_refused(file):
    data = next(iter(entries(file).values()))
    with_pickle(file, data.replace(b"K@", b"J\0\0\0\1", 1))  # 64 numbers, said to be 16 million
    refused(file)


def test_torch_reads_the_archive_that_was_verified(file):
    whole = file.read_bytes()
    with_pickle(file, b"\x80\2" + GREEDY["bytearray"] + b".")
    other = file.read_bytes().ljust(len(whole), b"\0")
    for data in (b"#!/bin/sh\n" + whole, whole + whole, other + whole, whole + bytes(9), whole + bytes(70_000)):
        file.write_bytes(data)
        refused(file)


def test_the_larger_form_of_archives_passes(file):
    rewrite(file, ("x/data.pkl", b"\x80\2N."), *((f"x/{i}", b"") for i in range(66_000)))  # more than 16 bits count
    with file.open("rb") as archive:
        check_archive(archive, file.stat().st_size)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_archives_are_refused(kind, file):
    known = entries(file)
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in known.items():
            archive.writestr(name, data)
    assert "compressed" in refused(file)


@pytest.mark.parametrize("how", ["folder", "missing", "zip of pictures", "empty zip", "script", "many entries"])
def test_what_is_no_checkpoint_at_all(how, tmp_path):
    file = tmp_path / "some.ckpt"
    if how == "folder":
        file.mkdir()
        assert "is no file" in refused(file)
        return
    if how == "zip of pictures":
        rewrite(file, ("a.png", b"x"))
    if how == "empty zip":
        rewrite(file)
    if how == "script":
        torch.jit.script(torch.nn.Linear(1, 1)).save(file)
    if how == "many entries":
        rewrite(file, ("x/data.pkl", b"\x80\2N."), *((f"x/{i}", b"") for i in range(100_001)))
    refused(file)
