"""NumPy files that grow row by row, so that nothing has to fit in memory before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_LONGEST = 2**62  # a header for so many rows is as long as that of any file


class ArrayFile:
    """A .npy file under construction; ``close`` makes it readable by ``np.load``."""

    def __init__(self, path: Path, dtype: Any, row_shape: tuple[int, ...] = ()) -> None:
        """Begin a file of rows of one shape; a file that was there before is replaced."""
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._file = path.open("wb")
        self.num_rows = 0
        self._write_header(_LONGEST)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, (n, *row_shape)."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self.num_rows += len(rows)

    def close(self) -> None:
        """Write how many rows there are."""
        self._file.seek(0)
        self._write_header(self.num_rows)
        self._file.close()

    def _write_header(self, num_rows: int) -> None:
        """Write a header; NumPy leaves room in it, so its length is the same for any count."""
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (num_rows, *self._row_shape),
        }
        npy.write_array_header_1_0(self._file, header)
