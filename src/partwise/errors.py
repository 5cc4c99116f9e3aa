"""The one exception for mistakes that the user can correct."""

from __future__ import annotations


class InputError(Exception):
    """An invalid input: a missing file, a wrong size, an unknown label, an unsuitable checkpoint.

    The message is one line that says what is wrong, where, and what to do about it. Commands print it without a
    traceback and exit with 1. Any other exception is a bug.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # names of files may hold line breaks
