"""Files of records (JSON lines, JSON lists, Parquet), read alike by every world that takes some."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import agentrl

_KINDS = (".jsonl", ".gz", ".json", ".parquet")


def read_records(path: Path) -> list[Any]:
    """All records of a `.jsonl`, `.jsonl.gz`, `.json` or `.parquet` file, in their order.

    Raises ConfigError for a file that is missing or of another kind, DataError for one that cannot be read.
    """
    if not path.is_file() or path.suffix not in _KINDS:
        what = f"{path} is of another kind" if path.is_file() else f"there is no file {path}"
        raise agentrl.ConfigError(f"{what}. Give the path of a .jsonl, .json, .jsonl.gz or .parquet file.")
    kind = "Parquet" if path.suffix == ".parquet" else "JSON lines"
    try:
        return _parquet(path) if kind == "Parquet" else _json(path)
    except (ValueError, OSError, EOFError, RecursionError) as error:  # those of pyarrow are ValueErrors
        raise agentrl.DataError(f"{path} cannot be read as {kind}: {error}") from error


def _json(path: Path) -> list[Any]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    if path.suffix == ".json" and text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _parquet(path: Path) -> list[Any]:
    import pyarrow.parquet as pq

    return list(pq.read_table(path).to_pylist())
