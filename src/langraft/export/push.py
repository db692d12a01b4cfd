"""Send an export to a repository on the Hugging Face hub, with its card, report and scorecard.

``create_commit`` with a list of files does it, not ``upload_folder``: the list is what langraft
wrote and nothing else, and all of it arrives in one commit, so that nobody loads half a model.
Large files are stored on the hub under their hashes before that commit. A push that was interrupted
leaves the repository as it was, and the next one sends only what the hub does not have yet.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from langraft.core.artifacts import MANIFEST, finished_manifest, read_manifest
from langraft.core.base_files import read_model_config
from langraft.core.errors import ArtifactError, HubError
from langraft.core.ownership import MARK
from langraft.export.portable.folder import MODELING_FILE
from langraft.families.load import FILES_FOR_SERVING, FILES_OF_TOKENIZER
from langraft.families.tensors import TensorFiles

CARD = "README.md"
_OF_RUN = ("report.html", "scorecard.json")
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
_GGUF = ("model-*.gguf", "Modelfile")
_PATTERNS = (
    *("config.json", "reference.json", MODELING_FILE, CARD),
    *_WEIGHTS,
    *FILES_OF_TOKENIZER,
    *FILES_FOR_SERVING,
)
_NEVER = (".*", "inputs.json", MANIFEST)  # langraft's own notes about the folder
_LOG_IN = "Log in with `hf auth login`, or put a token that may write into HF_TOKEN."


@dataclass(frozen=True, slots=True)
class PushFiles:
    """What of a run or an export is sent.

    Attributes:
        folder: Of the export.
        sent: Files by their path in the repository.
        left_out: Paths in the export that are not sent.
    """

    folder: Path
    sent: dict[str, Path]
    left_out: list[str]

    @property
    def num_bytes(self) -> dict[str, int]:
        """Size of each file that is sent."""
        return {name: path.stat().st_size for name, path in self.sent.items()}


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Attributes:
        url: Of the commit.
        commit: Its hash; an earlier one where nothing had changed.
        replaced: Weight files of an earlier export that this commit takes away.
    """

    url: str
    commit: str
    replaced: list[str]


def check_repository_name(repository: str) -> None:
    """Raise HubError for what cannot be the name of a repository with its owner."""
    try:
        validate_repo_id(repository)
        is_valid = repository.count("/") == 1
    except HFValidationError:
        is_valid = False
    if not is_valid:
        raise HubError(
            f"--to {repository!r} is no name of a repository. Give owner/name, such as "
            "my-lab/llama-el: letters, digits, '-', '_' and '.', 96 at most; not '--' or '..', and "
            "neither '-' nor '.' at either end."
        )


def check_revision(revision: str | None) -> None:
    """Raise HubError for what cannot be a branch of a repository."""
    if revision is None or re.fullmatch(r"(?!.*(\.\.|//))[\w.-][\w./-]*(?<![./])", revision):
        return
    raise HubError(
        f"--revision {revision!r} is no branch. Give a name such as main or v2: letters, digits, "
        "'-', '_', '.' and '/'; not '..' or '//', and neither '.' nor '/' at the end."
    )


def files_to_push(given: Path, *, has_gguf: bool = False) -> PushFiles:
    """Return the files of a run, or of an export alone, that a repository gets.

    Of a run's export these are the files that its manifest lists, unchanged since; of another
    export those with the names that langraft gives.

    Args:
        given: A run folder, its export, or what ``langraft export`` wrote.
        has_gguf: Whether GGUF files are sent as well.

    Raises:
        ArtifactError: when there is no export, its run has no report yet, or its files were
            changed.
        ModelError: when an export lacks weights or its config.
    """
    folder, run_folder = _find_export(given)
    patterns = (*_PATTERNS, *(_GGUF if has_gguf else ()))
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    written = set(found) if run_folder is None else _listed(folder, run_folder) | {CARD}
    sent = {
        name: path for name, path in found.items() if name in written and _is_any(name, patterns)
    }
    _check_whole(folder, sent)
    if has_gguf and not any(_is_any(name, _GGUF) for name in sent):
        raise ArtifactError(
            f"{folder} has no GGUF file. Write one with `langraft export GRAFT --out DIR --gguf "
            "q8_0` or the recipe's export.gguf, or leave --gguf out."
        )
    left_out = [name for name in found if name not in sent and not _is_any(name, _NEVER)]
    if run_folder is not None:
        of_run = {name: run_folder / name for name in _OF_RUN}
        missing = [name for name, path in of_run.items() if not path.is_file()]
        missing += [] if CARD in sent else [f"{folder.name}/{CARD}"]
        if missing:
            raise ArtifactError(
                f"{run_folder} has an export but lacks {', '.join(missing)}. Finish it first: "
                f"langraft run RECIPE --out {run_folder}"
            )
        sent |= of_run
    return PushFiles(folder=folder, sent=dict(sorted(sent.items())), left_out=sorted(left_out))


def _find_export(given: Path) -> tuple[Path, Path | None]:
    """Return the folder of the export, and that of its run, if it belongs to one."""
    for folder in (given / "export", given):
        if (folder / MANIFEST).is_file() and read_manifest(folder).step == "export":
            return folder, folder.absolute().parent
        mark = folder / MARK
        if mark.is_file() and mark.read_text(encoding="utf-8").startswith("an export\n"):
            return folder, None
    raise ArtifactError(
        f"{given} holds no export that langraft finished. Give the folder of a run that has "
        "export/ (finish it with `langraft run RECIPE`), or write one with `langraft export GRAFT "
        "--out DIR` and give DIR."
    )


def _listed(folder: Path, run_folder: Path) -> set[str]:
    """Return the files that the export step of a run wrote, checked against its manifest."""
    manifest = read_manifest(folder)
    if finished_manifest(folder, manifest.inputs) is None:
        raise ArtifactError(
            f"Files in {folder} were changed or deleted after the run wrote them. Delete the "
            f"folder and run the recipe again (langraft run RECIPE --out {run_folder}): only the "
            "export and the report are made anew."
        )
    return set(manifest.files)


def _check_whole(folder: Path, sent: Mapping[str, Path]) -> None:
    """Refuse a folder that could not be loaded, and links, which may lead anywhere."""
    links = [name for name, path in sent.items() if path.is_symlink()]
    if links:
        raise ArtifactError(
            f"{folder} holds symbolic links: {', '.join(links)}. Only files that langraft wrote "
            "are sent; put the files themselves there."
        )
    read_model_config(folder)
    TensorFiles.of_folder(folder)


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def _is_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a path fits a pattern; ``*`` stays within a folder."""
    parts = name.split("/")
    return any(
        len(wanted := pattern.split("/")) == len(parts) and all(map(fnmatch, parts, wanted))
        for pattern in patterns
    )


def push_files(
    files: PushFiles, repository: str, *, is_private: bool = False, revision: str | None = None
) -> Pushed:
    """Send files to a repository in one commit; it is made where there is none.

    Args:
        files: What ``files_to_push`` found.
        repository: Owner and name.
        is_private: Make a private repository; one that is there must be private.
        revision: Branch, made where there is none; left out: the main one.

    Raises:
        HubError: when the name is none, nobody is logged in, the hub refuses or cannot be
            reached; the repository holds what it held.
    """
    check_repository_name(repository)
    check_revision(revision)
    api = HfApi()
    with _explain_hub_errors(api, repository, revision):
        if get_token() is None:
            raise HubError(f"You are not logged in to {api.endpoint}. {_LOG_IN}")
        api.create_repo(repository, private=is_private or None, exist_ok=True)
        if is_private and not api.repo_info(repository).private:
            raise HubError(
                f"{repository} is public, and --private makes new repositories private only. "
                "Nothing was sent. Change it in its settings on the hub, or leave --private out."
            )
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repository, branch=revision, exist_ok=True)
        return _commit(api, files, repository, revision)


def _commit(api: HfApi, files: PushFiles, repository: str, revision: str | None) -> Pushed:
    """Send the files, and take away weights of an earlier export that would be loaded instead."""
    there = set(api.list_repo_files(repository, revision=revision))
    replaced = sorted(n for n in there if _is_any(n, _WEIGHTS) and n not in files.sent)
    commit = api.create_commit(
        repository,
        [
            *(CommitOperationAdd(name, str(path)) for name, path in files.sent.items()),
            *(CommitOperationDelete(name) for name in replaced),
        ],
        commit_message="Push with langraft",
        revision=revision,
    )
    missing = set(files.sent) - set(api.list_repo_files(repository, revision=commit.oid))
    if missing:
        raise HubError(
            f"The hub left out {', '.join(sorted(missing))}: the .gitignore of {repository} names "
            "them. Delete it there and push again."
        )
    return Pushed(url=str(commit.commit_url), commit=commit.oid, replaced=replaced)


@contextlib.contextmanager
def _explain_hub_errors(api: HfApi, repository: str, revision: str | None) -> Generator[None]:
    """Turn what the hub answers, or that it does not, into one clear HubError."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(
            "HF_HUB_OFFLINE is set, so nothing can be pushed. Unset it (and TRANSFORMERS_OFFLINE)."
        ) from None
    except HubError:
        raise
    except Exception as error:
        answer = _cause(error, lambda cause: isinstance(cause, HfHubHTTPError))
        if isinstance(answer, HfHubHTTPError):
            raise HubError(_explain_answer(api, answer, repository, revision)) from error
        failed = _cause(error, _is_of_connection)
        if failed is None:
            raise
        said = str(failed).rstrip(".") or type(failed).__name__
        raise HubError(
            f"{api.endpoint} cannot be reached: {said}. Check the network and push again: what has "
            "arrived is not sent twice."
        ) from error


def _explain_answer(
    api: HfApi, error: HfHubHTTPError, repository: str, revision: str | None
) -> str:
    """Return what an answer of the hub means and what to do next."""
    owner = repository.partition("/")[0]
    said = error.server_message or f"status {error.response.status_code}"
    said = " ".join(said.split()).rstrip(".")
    path = error.response.request.url.path
    match error.response.status_code:
        case 401:
            return f"{api.endpoint} does not accept the token ({said}). {_LOG_IN}"
        case 403 if path.startswith("/api/"):  # not where large files are stored
            return (
                f"This token may not write to {repository} ({said}). {_owners(api)} Push to one of "
                "these, or make a token with the right to write to it: the hub's settings, Access "
                "Tokens."
            )
        case 404 if path == "/api/repos/create":
            return (
                f"There is no user or organization {owner} that you could push to ({said}). "
                f"{_owners(api)} Check the spelling, or make the organization on the hub first."
            )
        case 404:
            return (
                f"{repository} has no {revision or 'main branch'} ({said}). Check --revision, and "
                "on the hub that the repository is there."
            )
        case 429:
            return f"The hub asks to wait ({said}). Push again later; what has arrived is kept."
        case status:
            return (
                f"{api.endpoint} refused the push to {repository} with status {status} ({said}). "
                "Push again later: what has arrived is not sent twice."
            )


def _owners(api: HfApi) -> str:
    """Return a sentence with the names that the token's user may push to, or nothing."""
    try:
        user: dict[str, Any] = api.whoami()
    except Exception:
        return ""  # the answer that is being explained is the one that counts
    organizations = [each["name"] for each in user.get("orgs", [])]
    belongs = f", a member of {', '.join(organizations)}" if organizations else ""
    return f"You are {user.get('name', 'unknown')}{belongs}."


def _cause(
    error: BaseException | None, is_wanted: Callable[[BaseException], bool]
) -> BaseException | None:
    """Return the error itself or the nearest one behind it that is wanted."""
    while error is not None and not is_wanted(error):
        error = error.__cause__ or error.__context__
    return error


def _is_of_connection(error: BaseException) -> bool:
    """Return whether a connection failed.

    Which client huggingface_hub uses depends on its version; all name their failures like this.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "TimeoutException", "TimeoutError"})
