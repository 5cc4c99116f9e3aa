"""Examine a dataset before hours are spent on it: every file is read, every label checked, gaps are found."""

from __future__ import annotations

import copy
import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from data_modules.base import ParsingDataModule
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.labels import IGNORE


@dataclass
class Examination:
    """Result of an examination.

    Attributes:
        counts: numbers of each stage that could be opened, by unit.
        classes: pixels of each class id in the samples that were read.
        findings: one line a fault.
        notes: one line for each difference from the published numbers, which is no fault: part of a dataset will do.
    """

    counts: dict[str, Mapping[str, int]] = field(default_factory=dict)
    classes: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, finding: str) -> None:
        """Note a fault once, however many samples show it."""
        line = " ".join(finding.split())
        if line not in self.findings:
            self.findings.append(line)


def examine(
    data: ParsingDataModule,
    stages: Sequence[str] | None = None,
    *,
    workers: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Examination:
    """Open every split and read every sample of it.

    Args:
        data: the DataModule, with its root.
        stages: those to examine; None takes all that the dataset has.
        workers: processes that read; 0 reads in this one.
        progress: called with stage, samples read and samples in all.

    Returns:
        Counts, classes, faults and differences from the published numbers.
    """
    result, read = Examination(), set[tuple[Path, str, bool]]()
    pictures: dict[str, dict[bytes, str]] = {}
    for stage in data.stages if stages is None else stages:
        try:
            dataset = data.dataset(stage)
        except InputError as error:
            result.add(f"{stage}: {error}")
            continue
        result.counts[stage] = data.count(dataset)
        files = data.root(stage), str(data.splits[stage]), stage == "train"  # which reads less of them
        if files in read:
            continue  # most datasets are tested on val, whose faults are known by now
        read.add(files)
        if getattr(dataset, "evenly_numbered", False):
            for line in gaps(dataset.ids):  # type: ignore[attr-defined]
                result.add(f"{stage}: {line}")
        result.notes += [f"{stage}: {line}" for line in getattr(dataset, "remarks", list)()]
        pictures[stage], classes = {}, Counter[int]()
        total = len(dataset)  # type: ignore[arg-type]
        for done, sample in enumerate(_read(dataset, workers), 1):
            classes.update(sample.classes)
            if sample.fault is not None:
                result.add(f"{stage}: {sample.fault}")
            if sample.digest is not None:
                pictures[stage][sample.digest] = sample.name
            progress(stage, done, total)
        if classes and not classes.keys() - {0, IGNORE}:
            result.add(
                f"{stage}: no class occurs but background, 0; {IGNORE} is ignored, so a mask of 0 and {IGNORE} must "
                "be given the classes' ids instead"
            )
        result.classes.update(classes)
    # Authors' own splits may share pictures, which is theirs to change.
    (result.notes if data.published else result.findings).extend(shared(pictures))
    result.notes += [] if data.synthetic else differences(_by_split(data, result.counts), data.published)
    return result


def _by_split(data: ParsingDataModule, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """The numbers of the dataset's own splits: not of ids that the user lists, nor of another folder."""
    splits = {stage: data.splits[stage] for stage in counts if data.test_root is None or stage != "test"}
    return {split: counts[stage] for stage, split in splits.items() if isinstance(split, str)}


def differences(found: Mapping[str, Mapping[str, int]], published: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Compare numbers with the published ones.

    Args:
        found: split -> unit -> number.
        published: split -> unit -> number; those "in all" are compared only if all its splits are found.

    Returns:
        A line for each number that is smaller or larger than published.
    """
    splits = published.keys() - {"in all"}
    if splits and splits <= found.keys():
        units = {unit for name in splits for unit in found[name]}
        found = {**found, "in all": {unit: sum(found[name].get(unit, 0) for name in splits) for unit in units}}
    for name in (name for name in published if name in found):
        for unit, number in published[name].items():
            here = found[name].get(unit, number)
            if here < number:
                yield f"{name}: {here} of {number} published {unit} are here"
            elif here > number:
                yield f"{name}: {here} {unit} are here, {number} were published"


def shared(pictures: Mapping[str, Mapping[bytes, str]]) -> Iterator[str]:
    """Find pictures that training and evaluation share.

    Args:
        pictures: stage -> digest of the pixels -> name.

    Returns:
        A line for each stage that shares some with "train".
    """
    trained = pictures.get("train", {})
    for stage in pictures.keys() - {"train"}:
        if both := sorted(trained.keys() & pictures[stage].keys(), key=pictures[stage].__getitem__):
            yield (
                f"{stage}: {len(both)} of {len(pictures[stage])} pictures are also in train (such as "
                f"{pictures[stage][both[0]]}, there {trained[both[0]]}); leave them out of one of the two"
            )


def spelled_out(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Write numbers by split and unit in one line."""
    return "; ".join(
        f"{name} {', '.join(f'{number} {unit}' for unit, number in units.items())}" for name, units in counts.items()
    )


def gaps(ids: Sequence[str]) -> Iterator[str]:
    """Find numbers that are missing from sequences of ids "SEQUENCE/NUMBER".

    Numbers of one sequence are expected at the distance that most neighbours have.

    Args:
        ids: in any order; others than "SEQUENCE/NUMBER" are left out.

    Returns:
        A line for each gap.
    """
    sequences: dict[str, list[int]] = defaultdict(list)
    for name in ids:
        sequence, _, last = name.rpartition("/")
        if sequence and re.fullmatch(r"\d+", last):
            sequences[sequence].append(int(last))
    for sequence, numbers in sequences.items():
        numbers.sort()
        steps = [b - a for a, b in itertools.pairwise(numbers)]
        usual = Counter(steps).most_common(1)[0][0] if steps else 0
        for number, step in zip(numbers, steps, strict=False):
            if step > usual:
                yield f"{sequence}: frames between {number} and {number + step} are missing (every {usual} elsewhere)"


@dataclass
class _Sample:
    """What reading a sample told: its fault if any, pixels of each class, name, and digest of its picture."""

    fault: str | None = None
    classes: dict[int, int] = field(default_factory=dict)
    name: str = ""
    digest: bytes | None = None


class _Once:
    """A reader of pictures that keeps the last one, which a sample and its digest share."""

    def __init__(self, read: Callable[[int], UInt8Array]) -> None:
        self._read, self._kept = read, (-1, np.empty(0, np.uint8))

    def __call__(self, index: int) -> UInt8Array:
        if index != self._kept[0]:
            self._kept = index, self._read(index)
        return self._kept[1]


class _Checked(Dataset[_Sample]):
    """A dataset's faults instead of its samples."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        if hasattr(dataset, "picture"):
            self.dataset = copy.copy(dataset)
            self.dataset.picture = _Once(dataset.picture)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> _Sample:
        try:
            sample = self.dataset[index]
            picture = self.dataset.picture(index) if hasattr(self.dataset, "picture") else None
        except InputError as error:
            return _Sample(str(error))
        found = _Sample(name=str(sample["sample_ids"]))
        if picture is not None:
            found.digest = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest()
        if "parts" in sample:
            ids, counts = sample["parts"].unique(return_counts=True)
            found.classes = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        return found


def _read(dataset: Any, workers: int) -> Iterator[_Sample]:
    yield from DataLoader(_Checked(dataset), batch_size=None, num_workers=workers, collate_fn=_as_it_is)  # type: ignore[arg-type]


def _as_it_is(sample: _Sample) -> _Sample:
    return sample
