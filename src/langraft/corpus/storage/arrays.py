"""NumPy files that are written row by row, so that an array need not fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_MAX_ROWS = 2**62  # for a header that is large enough for any number of rows


class ArrayFile:
    """A .npy file under construction; only after ``close`` can ``np.load`` read it."""

    def __init__(self, path: Path, dtype: Any, row_shape: tuple[int, ...] = ()) -> None:
        """Create a file of rows of one shape; an existing file is replaced."""
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._file = path.open("wb")
        self.num_rows = 0
        self._write_header(_MAX_ROWS)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, (n, *row_shape)."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self.num_rows += len(rows)

    def close(self) -> None:
        """Write the number of rows into the header."""
        self._file.seek(0)
        self._write_header(self.num_rows)
        self._file.close()

    def _write_header(self, num_rows: int) -> None:
        """Write a header, which NumPy pads to the same length for any number of rows."""
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (num_rows, *self._row_shape),
        }
        npy.write_array_header_1_0(self._file, header)
