"""Find and check what is merged: files by the names of images, persons in COCO's results, label sets in YAML."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec
import yaml

from partwise import labels
from partwise.errors import InputError
from partwise.evaluation.files import label_files
from partwise.io.coco_json import check_records, read_annotations, read_detections
from partwise.io.coco_masks import Size
from partwise.io.coco_records import Annotations, Id, Result
from partwise.io.images import IMAGE_SUFFIXES
from partwise.io.json_file import shown
from partwise.io.listing import list_files, warn_once
from partwise.io.text import read_text
from partwise.labels import IGNORE, LabelSet

#: COCO's category of persons, and its id where no annotation file says.
PERSON, PERSON_ID = "person", 1


class Named:
    """Files by the names of their images.

    Args:
        files: their paths below `folder`; the name is the path without suffix.
        folder: of the files.
        kind: what a file is, for messages.

    Attributes:
        files: by name, in order.

    Raises:
        InputError: two files have one name.
    """

    def __init__(self, files: Sequence[Path], folder: Path, kind: str) -> None:
        self.files: dict[str, Path] = {}
        self._folder, self._kind = folder, kind
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._numbers: dict[int, list[str]] = defaultdict(list)
        for file in files:
            name = file.relative_to(folder).with_suffix("").as_posix()
            if name in self.files:
                raise InputError(f"{self.files[name]} and {file} are both the {kind} of {name!r}; keep one")
            self.files[name] = file
            self._stems[file.stem].append(name)
            if file.stem.isascii() and file.stem.isdigit():
                self._numbers[int(file.stem)].append(name)

    def find(self, names: Sequence[str], image: Id) -> str:
        """Find the image that one of several names means.

        Args:
            names: the first that is a name here counts; if none is, the first whose last part is a stem here.
            image: id of the image, for messages.

        Returns:
            its name here.

        Raises:
            InputError: no file has such a name, or several have its stem.
        """
        for name in names:
            if name in self.files:
                return name
        found = next((self._stems[stem] for name in names if (stem := PurePosixPath(name).name) in self._stems), [])
        return self._only(found, image, f"{names[0]!r}")

    def find_id(self, image: Id) -> str:
        """Find the image of an id: a text is its name or stem, a number is that of a stem of digits.

        Args:
            image: the id.

        Returns:
            its name here.

        Raises:
            InputError: no file has such a name, or several have.
        """
        if isinstance(image, str):
            return self.find([image], image)
        return self._only(self._numbers.get(image, []), image, f"the number {image} ({image:012d}.png)")

    def _only(self, found: Sequence[str], image: Id, what: str) -> str:
        if len(found) == 1:
            return found[0]
        if found:
            problem = f"has several {self._kind}s for image {shown(image)}, {found[0]!r} and {found[1]!r}"
        else:
            problem = f"has no {self._kind} {what} for image {shown(image)}"
        raise InputError(
            f"{self._folder} {problem}; check the names, or name the json with each file_name: --annotations"
        )


def part_maps(folder: Path) -> Named:
    """Find the part maps of a folder, at any depth.

    Args:
        folder: with indexed PNGs.

    Raises:
        InputError: there is no such folder, or no PNG in it.
    """
    return Named(list(label_files(folder, "part maps").values()), folder, "part map")


def pictures_of(maps: Named, folder: Path) -> dict[str, Path]:
    """Find the picture of every part map.

    Args:
        maps: the part maps.
        folder: with pictures at any depth, named like the part maps or their stems.

    Returns:
        the files by name of the part map.

    Raises:
        InputError: there is no such folder, or a picture is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} (images) is not a folder; name the folder with the pictures")
    pictures = Named(list_files(folder, IMAGE_SUFFIXES, told=False), folder, "picture")
    return {name: pictures.files[pictures.find([name], name)] for name in maps.files}


def read_people(
    file: Path,
    maps: Named,
    sizes: Mapping[str, Size],
    annotations: Path | None = None,
    min_score: float = 0.0,
) -> dict[str, list[Result]]:
    """Read the persons of a results file, and check all of its detections.

    A row that has a picture's `file_name`, as those of `task=predict` do, is of that picture. Otherwise its `image_id`
    decides. Other categories than persons are left out with a warning.

    Args:
        file: COCO's results, with segmentation or bbox.
        maps: part maps.
        sizes: (H, W) of the part maps by name.
        annotations: COCO's json that names the file of each image id, and perhaps the category "person"; None where
            ids name the part maps, and 1 is a person.
        min_score: persons below it are left out.

    Returns:
        Rows by name of the part map; images without persons are not among them.

    Raises:
        InputError: a file is damaged, or a detection is wrong or of no part map.
    """
    known = read_annotations(annotations) if annotations is not None else None
    rows, person = read_detections(file), _person_id(known)
    listed = {image.id: image.file_name for image in known.images} if known is not None else None
    places: dict[Id, str] = {}
    found: dict[str, list[Result]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        try:
            name = _name(row, maps, listed)
            if places.setdefault(row.image_id, name) != name:
                raise InputError(f"image {shown(row.image_id)} is {places[row.image_id]!r} and {name!r}; keep one")
            _check(row)
        except InputError as problem:
            raise InputError(f"{file}: result {number}: {problem}") from None
        if row.category_id == person and row.score >= min_score:
            found[name].append(row)
    check_records(file, rows, {i: sizes[name] for i, name in places.items()}, lambda n: f"result {n + 1}")
    if others := sum(row.category_id != person for row in rows):
        warn_once(f"{file}: {others} of {len(rows)} results are not of category {shown(person)}, persons: left out")
    return dict(found)


def _name(row: Result, maps: Named, listed: Mapping[Id, str | None] | None) -> str:
    """Name of a detection's part map."""
    if row.file_name is not None and PurePosixPath(row.file_name).suffix.lower() in IMAGE_SUFFIXES:  # else a video's
        return maps.find(_names_of(row.file_name), row.image_id)
    if listed is None:
        return maps.find_id(row.image_id)
    if (file_name := listed.get(row.image_id)) is None:
        raise InputError(
            f"image {shown(row.image_id)} has no file_name in the annotations; name the json that lists it"
        )
    return maps.find(_names_of(file_name), row.image_id)


def _names_of(file_name: str) -> list[str]:
    """What the maps of a picture may be called: `task=predict` adds suffix and folder where stems coincide."""
    path = PurePosixPath(file_name)
    suffixed = path.name.replace(".", "_")
    return [path.with_suffix("").as_posix(), suffixed, f"{path.parent.name}_{suffixed}"]


def _check(row: Result) -> None:
    if not 0 <= row.score <= 1:
        raise InputError(f"score is {row.score:g}; allowed is 0 to 1")
    if not row.segmentation and not row.bbox:
        raise InputError("it has neither segmentation nor bbox; one of them is needed")


def _person_id(known: Annotations | None) -> Id:
    named = [category.id for category in known.categories if category.name == PERSON] if known is not None else []
    return named[0] if named else PERSON_ID


class _Labels(msgspec.Struct, forbid_unknown_fields=True):
    """Content of a YAML file of labels."""

    names: list[str]
    pairs: list[tuple[str, str]] = []


def read_label_set(given: str) -> LabelSet:
    """Return a label set of this project, or one of a YAML file.

    Args:
        given: a name, or the path of a file with `names: [background, ...]` and perhaps `pairs: [[left, right], ...]`,
            which are names too.

    Raises:
        InputError: there is neither, or the file is damaged or holds something else.
    """
    known = {thing.name: thing for thing in vars(labels).values() if isinstance(thing, LabelSet)}
    if given in known:
        return known[given]
    file = Path(given)
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(f"there is no label set {given!r}; name a YAML file or one of {', '.join(sorted(known))}")
    text = read_text(file)
    try:
        content = msgspec.convert(yaml.safe_load(text), _Labels)
        if not 2 <= len(content.names) <= IGNORE:
            raise ValueError(f"{len(content.names)} names, background included; 2 to {IGNORE} are possible")
        pairs = tuple((content.names.index(left), content.names.index(right)) for left, right in content.pairs)
        return LabelSet(file.stem, tuple(content.names), pairs)
    except (msgspec.ValidationError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{file} holds no label set ({error}); write names: [background, ...]") from error
