"""Folders that one process at a time holds."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from partwise.errors import InputError
from partwise.io import lock

HOLDS = "import sys, time; from pathlib import Path; from partwise.io import lock; "
HELD = HOLDS + "held = lock.hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
FORKS = HOLDS + (
    "import os; held = lock.hold(Path(sys.argv[1])); fd = os.dup(held._context.lock_file_fd); child = os.fork(); "
    "child or time.sleep(2); child and print('held', flush=True); child and os._exit(0)"
)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    with subprocess.Popen([sys.executable, "-c", HELD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.process
def test_a_held_folder_is_refused_with_who_holds_it_and_free_after_a_kill(tmp_path, other):
    with pytest.raises(lock.Held, match=f"process {other.pid} on {platform.node()}; wait"):
        lock.hold(tmp_path)
    assert lock.holder(tmp_path) == f"process {other.pid} on {platform.node()}"
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert lock.holder(tmp_path) is None
    lock.hold(tmp_path).release()


@pytest.mark.process
def test_who_waits_says_for_whom(tmp_path, other):
    said = []

    def end(text):
        said.append(text)
        other.kill()

    lock.hold(tmp_path, waits=end)
    assert said == [f"process {other.pid} on {platform.node()}"]


@pytest.mark.process
def test_processes_that_outlive_a_killed_holder_are_waited_for(tmp_path):
    subprocess.run([sys.executable, "-c", FORKS, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    lock.hold(tmp_path)


def test_a_lock_ends_with_its_last_reference(tmp_path):
    held = lock.hold(tmp_path)
    assert lock.holder(tmp_path) == f"process {os.getpid()} on {platform.node()}"
    del held
    assert lock.holder(tmp_path) is None
    assert lock.holder(tmp_path / "missing") is None


def test_a_note_that_is_none_is_as_good_as_none(tmp_path):
    held = lock.hold(tmp_path)
    (tmp_path / lock.FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(lock.Held, match="by another process"):
        lock.hold(tmp_path)
    held.release()


def test_a_folder_that_cannot_be_written_is_one_line():
    with pytest.raises(InputError, match=r"cannot write /proc/self \(no file"):
        lock.hold(Path("/proc/self"))


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("number", lock.UNSUPPORTED)
def test_without_flock_the_files_being_there_is_the_lock(number, tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", unsupported)
    held = lock.hold(tmp_path)
    assert isinstance(held, filelock.SoftFileLock)
    with pytest.raises(lock.Held, match=f"process {os.getpid()}"):
        lock.hold(tmp_path)
    held.release()
    lock.hold(tmp_path).release()
