import os
import signal
import sys
import time

import pytest

from partwise.run import signals
from partwise.run.signals import Interruption, Stopped


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_outside_a_training_a_signal_stops_at_once(number, code):
    interruption = Interruption()
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, interruption.taken():
        signal.raise_signal(number)
    assert stopped.value.code == code
    assert stopped.value.text == f"stopped by {signal.Signals(number).name}"
    assert signal.getsignal(number) is before


def test_a_training_notes_the_first_signal_and_a_second_ctrl_c_stops_it_at_once(monkeypatch, capfd):
    monkeypatch.setattr(signals, "ECHO", 0.05)
    interruption = Interruption()
    with interruption.taken():
        interruption.patient = True
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the same one, delivered twice
        assert interruption.received == signal.SIGINT
        assert capfd.readouterr().err == "\nCtrl-C: stopping at the next step; once more stops at once\n"
        time.sleep(0.1)
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)


def test_a_training_waits_for_its_step_however_often_it_is_terminated():
    interruption = Interruption()
    with interruption.taken():
        interruption.patient = True
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        with pytest.raises(Stopped) as stopped:
            interruption.stop_if_asked()
    assert stopped.value.signal == "SIGUSR1"


@pytest.mark.process
def test_a_command_gets_the_signal_and_ends_first(tmp_path):
    program = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text('ended'), sys.exit(143)))\n"
        "import os; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    )
    interruption = Interruption()
    with pytest.raises(Stopped) as stopped, interruption.taken():
        interruption.run([sys.executable, "-c", program, str(tmp_path / "file")], os.environ)
    assert stopped.value.code == 143
    assert (tmp_path / "file").read_text() == "ended"


@pytest.mark.process
def test_a_command_returns_its_status():
    interruption = Interruption()
    with interruption.taken():
        assert interruption.run([sys.executable, "-c", "raise SystemExit(3)"], os.environ) == 3
