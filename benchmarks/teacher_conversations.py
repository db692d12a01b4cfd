"""Write conversations that teach a small model to answer the prompts of self-instruct.

python benchmarks/teacher_conversations.py ../shared/data/instruct/multialpaca_es.jsonl.gz \
    --language es --out runs/teacher-conversations.jsonl

Each has a prompt with three real tasks as the user and three more as the assistant, in the form
that `langraft instruct generate` asks for and reads. With them benchmarks/recipes/teacher.yaml
trains a teacher small enough for any machine; what it writes is in form, not in substance.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

from langraft.chat.formats import clean_input
from langraft.self_instruct.prompt import format_task, read_template, write_prompt
from langraft.self_instruct.records import Instruction

SHOWN = ASKED = 3
MOST_CHARACTERS = 3000  # of prompt and answer, so that both fit a row
TEMPLATE = Path(__file__).parent / "recipes" / "short_prompt.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", type=Path, help="JSONL of instruction, input, output; .gz")
    parser.add_argument("--language", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds-out", type=Path, help="also write 100 tasks as seeds, kept apart")
    given = parser.parse_args()
    with gzip.open(given.tasks, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    tasks = [
        Instruction(
            instruction=task["instruction"].strip(),
            input=clean_input(task["input"]),
            output=task["output"].strip(),
            language=given.language,
            id=str(number),
        )
        for number, task in enumerate(found)
    ]
    random.Random(0).shuffle(tasks)
    seeds, tasks = tasks[:100], tasks[100:]
    template = read_template(str(TEMPLATE))
    num_written = 0
    with given.out.open("w", encoding="utf-8") as file:
        for start in range(0, len(tasks) - SHOWN - ASKED, SHOWN):
            shown = tasks[start : start + SHOWN]
            asked = tasks[start + SHOWN : start + SHOWN + ASKED]
            prompt = write_prompt(shown, ASKED, given.language, template)
            answer = "\n".join(
                format_task(n, task) for n, task in enumerate(asked, start=SHOWN + 1)
            )
            answer = answer.removeprefix(f"###\n{SHOWN + 1}. Instruction: ")
            if len(prompt) + len(answer) > MOST_CHARACTERS:
                continue
            turns = [("user", prompt), ("assistant", answer)]
            messages = [{"role": role, "content": text} for role, text in turns]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
            num_written += 1
    if given.seeds_out is not None:
        lines = [json.dumps(task.to_json(), ensure_ascii=False) + "\n" for task in seeds]
        given.seeds_out.write_text("".join(lines), encoding="utf-8")
    print(f"{num_written} conversations in {given.out}")


if __name__ == "__main__":
    main()
