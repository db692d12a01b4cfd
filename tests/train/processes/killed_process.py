"""Run by torchrun: the command line, of which process 1 kills itself once it has a checkpoint.

killed_process.py FOLDER VERB... ; FOLDER is the stage's, and gets each process's exit status.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from langraft.cli.main import main


def kill_this_process_after_a_checkpoint(stage: Path) -> None:
    while not list(stage.glob("checkpoints/step-*/checkpoint.json")):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    stage = Path(sys.argv.pop(1))
    is_first_time = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if os.environ["RANK"] == "1" and is_first_time:
        threading.Thread(
            target=kill_this_process_after_a_checkpoint, args=(stage,), daemon=True
        ).start()
    try:
        main()
    except SystemExit as end:
        (stage.parent / f"status-{os.environ['RANK']}").write_text(str(end.code))
        raise
