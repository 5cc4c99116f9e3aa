"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class InputError(Exception):
    """Bad input: a missing file, a wrong size, an unknown label, an unfit checkpoint.

    The message is one line that says what is wrong, where, and what to do about it.
    Commands print it without a traceback and exit with 1; anything else that is raised is a defect.
    """
