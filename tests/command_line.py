"""The command line in this process, which has imported what a new one would import first."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings

import pytest

from langraft.cli.main import main


def langraft(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a verb; with ``check`` its exit status must be 0."""
    words = ["langraft", *(str(argument) for argument in arguments)]
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a user's process does not raise them either
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    assert not check or status == 0, err.getvalue()
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())
