"""Between the shell and Hydra: free-form values, the list of experiments, and errors of one line."""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from partwise.errors import InputError
from partwise.run.signals import Stopped

#: Keys whose values are paths and may hold any characters.
FREE = ("ckpt", "input", "output", "outputs", "stages_in", "data.root", "data.test_root", "detector", "keypoints")
DEBUG = "PARTWISE_DEBUG"  # 1: a defect ends in its traceback
PREPARED = "PARTWISE_PREPARED"  # set where the arguments are quoted already
#: Exceptions of libraries that a user's config causes.
USERS = {"HydraException", "OmegaConfBaseException", "MisconfigurationException"}
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
#: What torch says when a loader process was killed, or there is no room in /dev/shm for its batches.
WORKERS = re.compile(r"DataLoader worker \(pid[^.]*|unable to \w+ (\w+ )?shared memory.*(?<!\.)")
FROM_CHECKPOINT = "from_checkpoint"  # the experiment that task=predict composes when none is named


def quoted(value: str) -> str:
    """Quote a value so that Hydra's grammar reads it back unchanged, with `~` expanded."""
    value = os.path.expanduser(value)
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # a path, not an interpolation
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f"'{value}'"


def experiments(*roots: Path) -> dict[str, str]:
    """List the experiments below Hydra roots.

    Args:
        roots: folders that hold `experiment/*.yaml`.

    Returns:
        The first comment line of each experiment, by its name.
    """
    found = {}
    for file in sorted(file for root in roots for file in (root / "experiment").glob("*.yaml")):
        if file.stem != FROM_CHECKPOINT:
            comments = [row[1:].strip() for row in file.read_text().splitlines() if row.startswith("# ")]
            found[file.stem] = next((c for c in comments if not c.startswith("@package")), "")
    return found


def prepare(argv: list[str], root: Path) -> list[str]:
    """Turn the shell's arguments into Hydra's.

    Args:
        argv: arguments behind the program's name.
        root: folder of the project's own YAML files.

    Returns:
        Arguments with paths quoted, and with the experiment that scoring or prediction leaves out.

    Raises:
        InputError: the experiment does not exist, a group is null, or the arguments ask for a multirun on several
            devices.
    """
    if os.environ.get(PREPARED):  # a process that the Trainer started with our own arguments
        return argv
    os.environ[PREPARED] = "1"
    options = dict(arg.split("=", 1) for arg in argv if "=" in arg and not arg.startswith("-"))
    name = options.get("experiment")
    known = experiments(root, *own_roots(argv))
    if name is not None and name not in known and "," not in name:
        close = difflib.get_close_matches(name, known, n=3) or list(known)
        raise InputError(
            f"experiment={name} does not exist in {root.name}/experiment/; did you mean {' or '.join(close)}?"
        )
    if {"-m", "--multirun"} & set(argv) and (
        options.get("trainer") == "ddp" or options.get("trainer.devices", "1") != "1"
    ):
        raise InputError(
            "multirun with several devices starts the whole sweep again on every rank (a defect of Hydra with DDP):"
            " sweep on one device, or start one process for each cell"
        )
    for arg in argv:
        _check_group(arg, root)
    # Hydra takes no overrides behind options that stand between overrides.
    argv = sorted((quoted_override(arg) for arg in argv), key=_is_override)
    if name is None and options.get("task") == "predict":
        argv.append(f"experiment={FROM_CHECKPOINT}")
    if name is None and options.get("task") == "test" and "ckpt" in options:
        argv.append(f"experiment={_experiment_of(options['ckpt'], known)}")
    return argv


def _check_group(arg: str, root: Path) -> None:
    """Refuse null for a group of files: Hydra leaves a group out only where its value is not given at all."""
    key, _, value = arg.lstrip("+").partition("=")
    group = root / key.partition("@")[0]
    if value == "null" and group.is_dir():
        names = [file.relative_to(group).with_suffix("").as_posix() for file in sorted(group.rglob("*.yaml"))]
        raise InputError(f"{arg}: leave {key} out, or give one of {', '.join(names)}")


def _is_override(arg: str) -> bool:
    return arg.startswith("~") or ("=" in arg and not arg.startswith("-"))


def _experiment_of(checkpoint: str, known: Collection[str]) -> str:
    """The experiment that a checkpoint says it is of, if there is one: Hydra would take a path, or another override."""
    from partwise.checkpoints.loading import KEY, load

    name: str = load(os.path.expanduser(checkpoint))[KEY]["experiment"]
    if name not in known:
        raise InputError(
            f"{checkpoint} says it was trained by experiment={name}, which does not exist here; "
            "name the one to score it with, experiment=NAME"
        )
    return name


def own_roots(argv: list[str]) -> list[Path]:
    """Find the folders of further YAML files, given as `--config-dir DIR` or `--config-dir=DIR`."""
    flags = ("--config-dir", "-cd")
    after = [value for flag, value in pairwise(argv) if flag in flags]
    joined = [arg.split("=", 1)[1] for arg in argv if arg.startswith("--config-dir=")]
    return [Path(folder) for folder in (*after, *joined)]


def quoted_override(arg: str) -> str:
    """Quote the value of an override if it is a path, so that Hydra reads it back unchanged."""
    key, equals, value = arg.partition("=")
    free = key.lstrip("+") in FREE or key.startswith("roots.")
    return f"{key}={quoted(value)}" if equals and free and value not in ("", "null") else arg


def run(main: Callable[[], None], root: Path) -> None:
    """Answer at once what needs no run, otherwise start Hydra.

    Args:
        main: function that Hydra decorated.
        root: folder of the project's own YAML files.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors over instead of printing them over many lines
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # libraries' own files of weights run no code either
    with one_line_errors():
        arguments = prepare(sys.argv[1:], root)
        if not arguments:
            print(listing(root))
            return
        sys.argv = [sys.argv[0], *arguments]
        main()


def listing(root: Path) -> str:
    """Return what `python run.py` prints: the experiments below a Hydra root."""
    known = experiments(root)
    width = max(map(len, known))
    rows = [f"  {name:<{width}}  {about}" for name, about in known.items()]
    return "\n".join(["python run.py experiment=NAME   (--help for more)\n", *rows])


@contextmanager
def one_line_errors(log: Callable[[], Path | None] = lambda: None) -> Iterator[None]:
    """Turn an error, or a signal, into one line and a status; the traceback of a defect goes to a file.

    With PARTWISE_DEBUG=1 in the environment a defect ends in its traceback.

    Args:
        log: returns the file that a traceback is appended to, None for a new file among the temporary ones.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be Unicode
    try:
        yield
    except Stopped as stop:
        if stop.text:
            print(stop.text, file=sys.stderr)
        stop.text = ""  # said
        raise
    except KeyboardInterrupt:
        print("\nstopped by SIGINT", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        message = explain(error)
        if message is None and os.environ.get(DEBUG) == "1":
            raise
        print(f"error: {message or _of_defect(error, log())}", file=sys.stderr)
        raise SystemExit(1) from None


def _of_defect(error: Exception, log: Path | None) -> str:
    """Describe an error that no user has made in one line, and keep its traceback."""
    report = "".join(traceback.format_exception(error))
    text = " ".join(str(error).split())[:200]
    try:
        if log is None:
            with tempfile.NamedTemporaryFile("w", prefix="partwise-", suffix=".txt", delete=False) as file:
                log = Path(file.name)
        with log.open("a", encoding="utf-8") as end:
            end.write(report)
    except OSError:  # a full disk may be the error
        return f"{type(error).__name__}: {text}; {DEBUG}=1 shows the traceback"
    return f"{type(error).__name__}: {text}; its traceback is in {log}, and {DEBUG}=1 shows it"


def explain(error: BaseException) -> str | None:
    """Explain a user's mistake in one line; return None for a defect."""
    seen: BaseException | None = error
    while seen is not None:  # Hydra and loader processes wrap what was raised
        if isinstance(seen, InputError):
            return str(seen).rsplit("InputError: ", 1)[-1].strip()
        if isinstance(seen, OSError) and seen.errno in UNWRITABLE:
            file = seen.filename2 or seen.filename or "a file"
            return f"cannot write {file} ({seen.strerror}); free some space or name another folder"
        seen = seen.__cause__ or seen.__context__
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and (lost := WORKERS.search(text)):
        return f"{lost[0]}. Give more (shared) memory, or load in the main process: data.num_workers=0"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; not imported for its name alone
        return f"{text.split('.')[0]}. Lower data.batch_size or image_size, or set trainer.precision=bf16-mixed"
    # By name too: commands without Hydra do not wait for its import.
    if {kind.__name__ for kind in type(error).__mro__} & USERS:
        text = text.replace(", set env var HYDRA_FULL_ERROR=1 to see chained exception", "")  # it is set
        return text.split(" Config search path")[0].removeprefix("In 'config': ")
    return None
