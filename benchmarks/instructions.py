"""Does an instruct model still follow English instructions after it has learned other languages?

    python benchmarks/instructions.py BASE MODEL [MODEL ...]

Asks each model the same ten instructions, greedily and in float32, a graft with its language guard
as well, and prints the answers, how many are word for word the base's, and the mean share of an
answer before the first character that differs.
"""

from __future__ import annotations

import argparse
from itertools import takewhile
from pathlib import Path

from langraft.cli.talk.chat import Chat
from langraft.cli.talk.model import ChatModel, load_chat_model
from langraft.graft.description import graft_folder_of, is_graft

INSTRUCTIONS = (
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "List three fruits that are red.",
    "Translate into French: Good morning, my friend.",
    "Explain in one sentence why the sky is blue.",
    "What is 12 plus 30?",
    "Rewrite politely: Give me the report now.",
    "Name the first president of the United States.",
    "Give me a recipe for pancakes in three steps.",
    "Is a whale a fish? Answer yes or no, and say why.",
)


def main() -> None:
    given = arguments()
    print("| model | answers of the base, word for word | share before the first difference |")
    print("| --- | --: | --: |")
    expected = answers(load_chat_model(given.base, dtype="float32"), given.tokens)
    everything = {"the base": expected}
    for folder in given.models:
        for guard in ("off", "auto") if is_graft(graft_folder_of(folder)) else ("off",):
            model = load_chat_model(folder, guard=guard, dtype="float32")
            found = answers(model, given.tokens)
            name = f"`{folder.name}`" + (", guarded" if guard == "auto" else "")
            everything[name] = found
            pairs = list(zip(expected, found, strict=True))
            share = sum(num_same_characters(*pair) / len(pair[0]) for pair in pairs)
            num_same = sum(ours == theirs for ours, theirs in pairs)
            print(f"| {name} | {num_same} of {len(pairs)} | {share / len(pairs):.0%} |", flush=True)
    for number, instruction in enumerate(INSTRUCTIONS):
        print(f"\n{instruction}")
        for name, found in everything.items():
            print(f"- {name}: {' '.join(found[number].split())}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, help="An instruct model.")
    parser.add_argument("models", type=Path, nargs="+", help="Grafts, run folders or models.")
    parser.add_argument("--tokens", type=int, default=48, help="Of an answer, at most.")
    return parser.parse_args()


def num_same_characters(ours: str, theirs: str) -> int:
    """Count the characters before the first that differs."""
    pairs = zip(ours, theirs, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def answers(model: ChatModel, max_tokens: int) -> list[str]:
    """Ask every instruction in a conversation of its own."""
    return [
        Chat(model, max_tokens=max_tokens, temperature=0.0).answer(instruction)
        for instruction in INSTRUCTIONS
    ]


if __name__ == "__main__":
    main()
