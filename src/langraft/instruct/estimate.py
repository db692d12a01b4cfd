"""What a run will ask and cost at most, before anything is spent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langraft.instruct.generation import LANGUAGE, Generation
from langraft.instruct.prompt import read_template, show_task, write_prompt
from langraft.instruct.rounds import plan_round
from langraft.instruct.seeds import SEED_LANGUAGE, seed_tasks
from langraft.instruct.teacher import BYTES_PER_TOKEN
from langraft.instruct.translation import read_seeds, translation_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one language asks for, if no round is left out.

    Attributes:
        language: Code.
        requests: Prompts of all rounds and translations of seeds.
        prompt_tokens: Expected, at four bytes a token.
        answer_tokens: Expected: the tasks asked for, each as long as a seed.
        most_prompt_tokens: A token for every byte of ours, ``max_tokens`` for every task shown
            that the teacher wrote, every translation tried as often as allowed.
        most_answer_tokens: ``max_tokens`` for every request.
        cost: Of the expected tokens.
        most_cost: Of the most tokens; only answers that were lost on the way come on top.
    """

    language: str
    requests: int
    prompt_tokens: int
    answer_tokens: int
    most_prompt_tokens: int
    most_answer_tokens: int
    cost: float
    most_cost: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def estimate(generation: Generation) -> list[Estimate]:
    """Return the estimate of each language, from prompts as the first round asks them.

    Raises:
        LangraftError: for a template or seeds that cannot be used.
    """
    template = read_template(Path(generation.template)) if generation.template else None
    return [_estimate(generation, language, template) for language in generation.languages]


def _estimate(generation: Generation, language: str, template: str | None) -> Estimate:
    is_translated = not generation.seeds and language != SEED_LANGUAGE
    seeds = seed_tasks()
    if generation.seeds:
        path = Path(generation.seeds.replace(LANGUAGE, language))
        seeds = read_seeds(path, language, generation.demonstrations)
    prompts = plan_round(generation, language, 1, seeds, (), template)
    num_prompts = sum(generation.num_prompts(n) for n in range(1, generation.rounds + 1))
    lengths = [len(prompt.question.text.encode()) for prompt in prompts]
    asked = [len(translation_prompt(seed, language).encode()) for seed in seeds]
    seed_bytes = [len(show_task(1, seed).encode()) for seed in seeds]
    asked = asked if is_translated else []
    prompt_bytes = num_prompts * sum(lengths) / len(lengths) + sum(asked)
    answer_bytes = num_prompts * generation.new_tasks * sum(seed_bytes) / len(seed_bytes)
    answer_bytes += sum(seed_bytes) if is_translated else 0
    tries = generation.translation_tries * len(asked)
    teacher = generation.teacher
    tokens = round(prompt_bytes / BYTES_PER_TOKEN), round(answer_bytes / BYTES_PER_TOKEN)
    # A task that the teacher wrote, such as a translated seed, has at most max_tokens tokens.
    longest = max(teacher.max_tokens, 0 if is_translated else max(seed_bytes))
    bare = len(write_prompt((), generation.new_tasks, language, template).encode())
    most = (
        num_prompts * (bare + generation.demonstrations * longest)
        + generation.translation_tries * sum(asked),
        (num_prompts + tries) * teacher.max_tokens,
    )
    return Estimate(
        language=language,
        requests=num_prompts + len(asked),
        prompt_tokens=tokens[0],
        answer_tokens=min(tokens[1], most[1]),
        most_prompt_tokens=most[0],
        most_answer_tokens=most[1],
        cost=teacher.cost(tokens[0], min(tokens[1], most[1])),
        most_cost=teacher.cost(*most),
    )
