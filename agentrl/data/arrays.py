"""Arrays whose numbers stay what they were."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray


def exact(values: object, dtype: DTypeLike) -> NDArray[np.generic]:
    """`values` as an array of this type, without a copy where they are one; floats may lose digits, nothing else.

    Raises ValueError for what is no array of numbers, and where a number would become another one.

    >>> exact([1, 2.0], "int32"), exact([0, 1], "bool")
    (array([1, 2], dtype=int32), array([False,  True]))
    """
    dtype = np.dtype(dtype)
    array = np.asarray(values)
    if array.dtype == dtype:
        return array
    if array.size and array.dtype.kind not in "biuf":
        raise ValueError(f"{array.ravel()[0]!r} is not a number")
    with np.errstate(invalid="ignore", over="ignore"):
        cast = array.astype(dtype)
    lost = np.isinf(cast) != np.isinf(array) if dtype.kind == "f" else cast != array
    if np.any(lost):
        raise ValueError(f"{array[lost].ravel()[0]} does not fit {dtype}")
    return cast
