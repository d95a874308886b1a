"""Records in which order files are flushed and renamed."""

import os
from pathlib import Path

import pytest


class Recorder:
    """Records flushes and renames; at each rename checks what has to be flushed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.flushed: dict[
            str, int
        ] = {}  # by path: the time of its last change, flushed
        self.waiting: set[Path] = set()  # folders with a new name, not flushed yet
        self.renamed: list[str] = []
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr("os.fsync", self.fsync)
        monkeypatch.setattr("os.replace", self.replace)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        self.flushed[str(path)] = os.fstat(descriptor).st_mtime_ns
        self.waiting.discard(path)

    def replace(self, source: str | Path, target: str | Path) -> None:
        source, target = Path(source), Path(target)
        for path in (source, *source.rglob("*")) if source.is_dir() else (source,):
            if not path.is_symlink() and not str(path).endswith(".kit.old"):
                known = self.flushed.get(str(path))
                assert (
                    target.name.endswith(".kit.old") or known == path.stat().st_mtime_ns
                )
        self._replace(source, target)
        self.waiting.add(target.parent)
        self.renamed.append(target.name)
