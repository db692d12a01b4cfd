"""index.md: the overview; what there is today is counted, not remembered."""

from __future__ import annotations

from collections.abc import Iterable

from langraft.corpus.engines import ENGINES
from langraft.corpus.filters import FILTERS
from langraft.corpus.sources import SOURCES
from langraft.evaluate.benchmarks.suites import SUITES
from langraft.evaluate.benchmarks.tasks import BENCHMARKS
from langraft.families.family import FAMILIES
from langraft.graft.methods import METHODS
from langraft.self_instruct.teachers import TEACHERS
from pages import page, table

PATH = "index.md"

_OPENING = """\
langraft grafts new languages onto a pretrained language model and keeps the old ones.

You have a good open model, some text in Greek, Swahili or Nepali, and a budget. Training on that
text teaches the language and damages the others. langraft adds new experts beside the model's own
feed-forward networks, trains those, and leaves the model's own weights as they were. One recipe
leads from text to a folder that `transformers`, vLLM and llama.cpp load with no langraft installed,
and to a scorecard that says what was gained and what was lost.

![A decoder layer after grafting](img/layer.svg)

## Two commands

```bash
make quickstart   # install into .venv, then the whole job on a tiny model
make test         # install the development tools too, then check and test
```

The quickstart needs no network beyond the installation. It trains a tiny base on the embedded
almanac, grafts Greek, Hungarian and Turkish onto it, trains full fine-tuning on the same tokens
beside it, prints the comparison and leaves `runs/quickstart/report.html`.

With your own model and text:

```bash
langraft init my-run --base MODEL --original en --new hu,sw --text text/
langraft plan my-run/recipe.yaml   # what it costs, before anything is spent
langraft run my-run/recipe.yaml    # run it again to go on after a stop
langraft chat runs/my-run          # talk to the result
```
"""

_QUESTIONS = {
    "How do I begin with my own model and text?": "[Begin](guide/begin.md)",
    "Which method fits my case?": "[Which method?](guide/which_method.md)",
    "How do I say what I want?": "[Write a recipe](guide/recipe.md)",
    "What text can it read, and what happens to broken lines?": "[Text](guide/data.md)",
    "What is dropped, and how is a terabyte read?": (
        "[Cleaning and large corpora](guide/cleaning.md)"
    ),
    "In which shares are languages read, and how often is text repeated?": (
        "[Curriculum](guide/curriculum.md)"
    ),
    "What if the tokenizer cuts my language into letters?": "[Tokenizers](guide/tokenizers.md)",
    "What is trained, what is frozen, and how is that proved?": (
        "[The method MoE-LPR](guide/moe_lpr.md)"
    ),
    "What does a run cost?": "[Plan](guide/plan.md)",
    "What lies in the run folder, and what if the run is killed?": (
        "[Run folder and resuming](guide/runs.md)"
    ),
    "How do I use several GPUs or processes?": "[Several processes](guide/distributed.md)",
    "What loads the result?": "[Export and serving](guide/export.md)",
    "How do I use it from Python or under the Hugging Face `Trainer`?": "[Python](guide/python.md)",
    "What does this message mean?": "[Troubleshooting](troubleshooting.md)",
    "How is the code laid out?": "[Architecture](architecture.md)",
}


def render() -> str:
    """Return the page."""
    there_is = {
        "[methods](reference/methods.md)": METHODS,
        "[families with an exact standard class](reference/formats.md)": FAMILIES,
        "[sources of text](guide/data.md)": SOURCES,
        "[filters](guide/cleaning.md)": FILTERS,
        "[engines for corpus work](guide/cleaning.md)": ENGINES,
        "[benchmarks](guide/benchmarks.md)": BENCHMARKS,
        "[suites](guide/benchmarks.md)": SUITES,
        "[teachers](guide/self_instruct.md)": TEACHERS,
    }
    return page(
        "langraft",
        _OPENING,
        "## Where to read on",
        table(("question", "page"), list(_QUESTIONS.items())),
        "## What there is today",
        table(
            ("how many", "of what", "as a recipe names them"),
            [(str(len(list(kind))), words, _names(kind)) for words, kind in there_is.items()],
        ),
        "Any Hugging Face decoder whose feed-forward networks are recognised by structure can "
        "be grafted; the families above also have an exact standard format, others are exported "
        "with a modelling file of their own.",
    )


def _names(registry: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in registry)
