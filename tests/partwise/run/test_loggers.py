import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from partwise.run.loggers import _rows_before, wandb_logger


@pytest.mark.parametrize("options", [{}, {"mode": "offline"}])
@pytest.mark.parametrize("account", [True, False])
def test_weights_and_biases_stays_offline_where_asked(options, account, tmp_path, monkeypatch):
    if options:
        monkeypatch.delenv("WANDB_MODE", raising=False)
    else:
        monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.login", lambda **_: account)
    made = wandb_logger(save_dir=tmp_path, **options)._wandb_init
    assert (made["mode"], made["resume"]) == ("offline", None)


@pytest.mark.parametrize(("account", "expected"), [(True, (None, "allow")), (False, ("offline", None))])
def test_weights_and_biases_is_online_with_an_account(account, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb.login", lambda **_: account)
    made = wandb_logger(save_dir=tmp_path)._wandb_init
    assert (made["mode"], made["resume"]) == expected


MADE = (
    "import sys; from partwise.run.loggers import wandb_logger; print(wandb_logger(save_dir=sys.argv[1])._wandb_init)"
)


class Refuses(BaseHTTPRequestHandler):
    """A server that no key is good enough for."""

    def do_POST(self):
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing():
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def made(folder, attempts=3, **environment):
    """What making a logger says: ten seconds of waiting, and imports on a busy machine.

    wandb's service sometimes misses that its client leaves, which then waits for it for ten minutes and more.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    try:
        return subprocess.run([sys.executable, "-c", MADE, str(folder)], capture_output=True, text=True, check=False,
                              timeout=60, env={**kept, "HOME": str(folder), **environment})  # fmt: skip
    except subprocess.TimeoutExpired:
        if attempts == 1:
            raise
        return made(folder, attempts - 1, **environment)


@pytest.mark.process
@pytest.mark.parametrize(
    ("server", "key", "mode"),
    [("nobody", "a" * 40, {}), ("refusing", "a" * 40, {"WANDB_MODE": "online"}), ("refusing", "abc", {})],
)
def test_without_the_server_or_with_a_bad_key_a_run_logs_offline(server, key, mode, tmp_path, refusing):
    url = refusing if server == "refusing" else "http://127.0.0.1:9"
    done = made(tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY=key, **mode)
    said, options = done.stdout.splitlines()
    assert said.startswith("wandb: ")
    assert said.endswith("; logging offline, `wandb sync` sends it later")
    assert "'mode': 'offline'" in options, done.stderr


@pytest.mark.process
def test_a_mode_that_does_not_exist_is_refused(tmp_path):
    assert (
        "InputError: WANDB_MODE=foo does not exist; it is one of online, offline"
        in made(tmp_path, WANDB_MODE="foo").stderr
    )


def test_rows_that_cannot_be_read_are_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("partwise.run.loggers.load", lambda _: {"global_step": 3})
    file = tmp_path / "metrics.csv"
    for text in ("step,loss\nx,1\n", "", "loss\n1\n", "\0\0\0\n\0\0", "step\n\xff\n"):
        file.write_text(text, encoding="latin-1")
        assert _rows_before(file, tmp_path) == []
    file.write_text("step,loss\n2,1\n3,1\n")
    assert _rows_before(file, tmp_path) == [{"step": "2", "loss": "1"}]
    assert f"{file} cannot be read" in capsys.readouterr().out
