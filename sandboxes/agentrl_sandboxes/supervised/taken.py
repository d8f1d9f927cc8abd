"""Files that came out of a sandbox, checked outside: what says their names and sizes may have been forged inside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from agentrl import FileTree

Parts = Iterable[tuple[Mapping[str, object], bytes]]
"""Answers to a task of files, each with the contents of the files that it names."""


def read_tree(parts: Parts, paths: Sequence[str], max_bytes: int, max_files: int) -> FileTree:
    """What was asked for and nothing else. Raises ValueError for parts that are none or lack the last one."""
    files: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    complete = False
    for header, contents in parts:
        files.update(_cut(header.get("files", []), contents))
        reasons = header.get("refused", {})
        if not isinstance(reasons, dict):
            raise ValueError("reasons without paths")
        refused.update(reasons)
        complete = complete or bool(header.get("end"))
    if not complete:
        raise ValueError("the last part is missing")
    return checked(FileTree(files, refused), paths, max_bytes, max_files)


def checked(tree: FileTree, paths: Sequence[str], max_bytes: int, max_files: int) -> FileTree:
    """Only files at or below the paths that were asked for, under plain names, as many and as large as was allowed."""
    files: dict[str, bytes] = {}
    refused = {str(path): str(reason) for path, reason in tree.refused.items()}
    left = max_bytes
    for path, data in tree.files.items():
        if not _asked_for(path, paths):
            refused[path] = "a path that was not asked for"
        elif len(files) >= max_files:
            refused[path] = "more files than asked for"
        elif len(data) > left:
            refused[path] = "larger than asked for"
        else:
            files[path] = data
            left -= len(data)
    return FileTree(files, refused)


def _cut(index: object, contents: bytes) -> dict[str, bytes]:
    files, start = {}, 0
    for path, size in index if isinstance(index, list) else [("", -1)]:
        if not isinstance(path, str) or not isinstance(size, int) or not 0 <= size <= len(contents) - start:
            raise ValueError("an index that does not fit its contents")
        files[path] = contents[start : start + size]
        start += size
    return files


def _asked_for(path: str, paths: Sequence[str]) -> bool:
    if path in paths:
        return True
    plain = path == os.path.normpath(path) and "\0" not in path and ".." not in path.split("/")
    return plain and any(_below(path, os.path.normpath(folder)) for folder in paths or ["."])


def _below(path: str, folder: str) -> bool:
    if folder == ".":
        return not path.startswith("/")
    return path.startswith(folder if folder.endswith("/") else f"{folder}/")
