"""``python -m langraft``, and what torchrun starts: ``torchrun -m langraft run RECIPE``."""

from langraft.cli.main import main

if __name__ == "__main__":
    main()
