"""Self-instruct end to end with a teacher on this machine: yields by filter and round.

    python benchmarks/self_instruct.py TEACHER --languages el sw --rounds 3 --prompts 20

TEACHER is a model's folder, a graft or a run folder. --seeds names own seeds, with {language};
without them langraft's are translated by the teacher, which a small one cannot.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from langraft.cli.tables.instruct_tables import result_table
from langraft.self_instruct.generate import generate
from langraft.self_instruct.settings import parse_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher")
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--new-tasks", type=int, default=17)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", default="")
    parser.add_argument("--template", default="", help="own prompt; for teacher.yaml the short one")
    parser.add_argument("--out", type=Path, help="default: a folder that is deleted")
    given = parser.parse_args()
    settings = parse_settings(
        {
            "languages": given.languages,
            "teacher": {
                "name": "local",
                "folder": given.teacher,
                "batch": given.batch,
                "max_tokens": given.max_tokens,
            },
            "rounds": given.rounds,
            "prompts": given.prompts,
            "first_prompts": min(10, given.prompts),
            "new_tasks": given.new_tasks,
            "seeds": given.seeds,
            "template": given.template,
        }
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        manifest = generate(settings, given.out or Path(folder))
    print(result_table(manifest))
    print(f"{time.monotonic() - started:.0f} seconds")


if __name__ == "__main__":
    main()
