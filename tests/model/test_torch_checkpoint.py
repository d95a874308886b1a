"""PyTorch's legacy files: read without PyTorch, and without running what they name."""

import collections
import io
import os
import pickle
import struct

import numpy as np
import pytest

from kaggle_kit.errors import ArtefactError
from kaggle_kit.model import torch_checkpoint
from kaggle_kit.model.torch_checkpoint import MAGIC, PROTOCOL, read_tensors
from tests.helpers.fuzzing import run_blocks


class Named:
    """Pickled as a call of any function by name, as PyTorch's own pickler does."""

    def __init__(self, module, name, *args):
        self.module, self.name, self.args = module, name, args


class Reference(str):
    """A name without a call, such as a storage's class."""


class Writer(pickle._Pickler):
    """A pickler that can name functions that are not there."""

    def save(self, thing, save_persistent_id=True):
        if isinstance(thing, Reference):
            self.write(pickle.GLOBAL + thing.encode() + b"\n")
        elif isinstance(thing, Named):
            self.write(pickle.GLOBAL + f"{thing.module}\n{thing.name}\n".encode())
            super().save(tuple(thing.args))
            self.write(pickle.REDUCE)
        elif isinstance(thing, tuple) and thing[:1] == ("storage",):
            super().save(thing)
            self.write(pickle.BINPERSID)
        else:
            super().save(thing, save_persistent_id)


def pickled(thing):
    file = io.BytesIO()
    Writer(file, 2).dump(thing)
    return file.getvalue()


def tensor(key, n, offset, shape, stride, kind="FloatStorage"):
    storage = ("storage", Reference(f"torch\n{kind}"), key, "cpu", n, None)
    empty = collections.OrderedDict()
    return Named(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage,
        offset,
        shape,
        stride,
        False,
        empty,
    )


def legacy_file(path, tensors, storages, magic=MAGIC):
    head = [magic, PROTOCOL, {"little_endian": True}, collections.OrderedDict(tensors)]
    parts = [pickled(thing) for thing in [*head, list(storages)]]
    for values in storages.values():
        parts += [struct.pack("<q", len(values)), values.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


NUMBERS = np.arange(24, dtype="<f4")


def test_tensors_are_read_with_their_strides_and_offsets(tmp_path):
    tensors = {
        "plain": tensor("1", 24, 0, (2, 3, 4), (12, 4, 1)),
        "turned": tensor("1", 24, 0, (4, 3), (1, 4)),
        "middle": tensor("1", 24, 5, (3,), (2,)),
        "scalar": tensor("2", 1, 0, (), (), "LongStorage"),
        "empty": tensor("1", 24, 0, (0, 3), (3, 1)),
    }
    storages = {"1": NUMBERS, "2": np.array([7], "<i8")}
    found = read_tensors(legacy_file(tmp_path / "x.pth", tensors, storages))
    np.testing.assert_array_equal(found["plain"], NUMBERS.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["turned"], NUMBERS[:12].reshape(3, 4).T)
    np.testing.assert_array_equal(found["middle"], [5, 7, 9])
    assert found["scalar"] == 7 and found["scalar"].shape == ()
    assert found["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("torch._utils", "x")],
)
def test_a_file_that_names_a_function_is_refused_and_nothing_runs(
    module, name, tmp_path
):
    victim = tmp_path / "victim"
    call = Named(module, name, f"touch {victim}")
    path = legacy_file(tmp_path / "x.pth", {"a": call}, {})
    with pytest.raises(ArtefactError, match=f"names {module}.{name}; do not use it"):
        read_tensors(path)
    assert not victim.exists()


def test_the_attack_that_is_refused_would_have_worked(tmp_path):
    """The same bytes, given to Python's own unpickler, run the command."""
    victim = tmp_path / "victim"
    pickle.loads(pickled(Named(os.system.__module__, "system", f"touch {victim}")))
    assert victim.exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"a": tensor("1", 24, 20, (5,), (1,))},
        {"a": tensor("1", 24, -1, (5,), (1,))},
        {"a": tensor("1", 24, 10, (5,), (-1,))},
        {"a": tensor("1", 24, 0, (10**6, 10**6), (0, 1))},
        {"a": tensor("1", 24, 0, (10**10,), (0,))},
        {str(i): tensor("1", 24, 0, (24,), (1,)) for i in range(100)},
        {"a": tensor("9", 24, 0, (5,), (1,))},
        {"a": tensor("1", 25, 0, (5,), (1,))},
        {"a": "text"},
        {7: tensor("1", 24, 0, (5,), (1,))},
    ],
    ids=[
        "beyond",
        "before",
        "back",
        "huge",
        "repeat",
        "many",
        "nowhere",
        "length",
        "text",
        "number",
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(bad, tmp_path):
    path = legacy_file(tmp_path / "x.pth", bad, {"1": NUMBERS})
    with pytest.raises(ArtefactError, match="do not use it"):
        read_tensors(path)


@pytest.mark.parametrize(
    "start",
    [
        b"\x80\x02K\x01r\xff\xff\xff\x7f.",  # a memo of 2^31 places
        b"\x80\x02K\x01r\xff\xff\xff\xff.",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little"),  # a text of a terabyte
        b"\x80\x04\x8d" + (2**40).to_bytes(8, "little"),
        b"\x80\x02X\xff\xff\xff\x7f",  # a text of 2 GB
        b"\x80\x02\x8b\xff\xff\xff\x7f",  # a number of 2 GB
        b"I" + b"9" * 10**6 + b"\n.",
        b"(" * 10**6 + b".",
        b"\x80\x02" + b"]" + b"2a" * 10**5 + b".",
        b"",
    ],
    ids=range(10),
)
def test_a_pickle_that_asks_for_memory_is_refused(start, tmp_path, tried):
    path = tmp_path / "x.pth"
    path.write_bytes(start)

    def block(first, length, meter):
        with meter.attempt(start[:20]), pytest.raises(ArtefactError) as caught:
            read_tensors(path)
        assert "MemoryError" not in str(caught.value)

    run_blocks(None, 1, block, tried, seconds=5, megabytes=100)


def test_a_storage_longer_than_the_file_is_refused_before_it_is_read(tmp_path):
    tensors = {"a": tensor("1", 2**60, 0, (1,), (1,))}
    path = legacy_file(tmp_path / "x.pth", tensors, {"1": NUMBERS})
    content = path.read_bytes()
    at = content.rindex(struct.pack("<q", 24) + NUMBERS.tobytes())
    path.write_bytes(content[:at] + struct.pack("<q", 2**60) + content[at + 8 :])
    with pytest.raises(ArtefactError, match="more than the file; do not use it"):
        read_tensors(path)


def test_every_cut_of_a_file_is_refused(tmp_path):
    good = legacy_file(
        tmp_path / "x.pth", {"a": tensor("1", 24, 0, (24,), (1,))}, {"1": NUMBERS}
    )
    content = good.read_bytes()
    for length in range(0, len(content), 7):
        good.write_bytes(content[:length])
        with pytest.raises(ArtefactError):
            read_tensors(good)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_refused_or_read_but_never_run(seed, tmp_path, monkeypatch):
    """Bytes changed at random: an error of the kit's, or tensors; no other outcome."""
    monkeypatch.setattr(os, "system", None)
    rng = np.random.default_rng(seed)
    path = legacy_file(
        tmp_path / "x.pth", {"a": tensor("1", 24, 0, (24,), (1,))}, {"1": NUMBERS}
    )
    content = path.read_bytes()
    for _ in range(300):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            changed[place] = rng.integers(256)
        path.write_bytes(bytes(changed))
        try:
            found = read_tensors(path)
        except ArtefactError:
            continue
        assert all(isinstance(value, np.ndarray) for value in found.values())


def test_another_format_and_no_file_are_named(tmp_path):
    with pytest.raises(ArtefactError, match="found none"):
        read_tensors(tmp_path / "absent.pth")
    path = legacy_file(tmp_path / "x.pth", {}, {}, magic=5)
    with pytest.raises(ArtefactError, match="magic number"):
        read_tensors(path)
    path.write_bytes(b"PK\x03\x04 the newer format is a zip file")
    with pytest.raises(ArtefactError, match="legacy format"):
        read_tensors(path)


def test_only_four_names_are_known():
    unpickler = torch_checkpoint._Unpickler(io.BytesIO())
    known = [("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")]
    known += [("torch", "FloatStorage"), ("torch", "LongStorage")]
    for module, name in known:
        unpickler.find_class(module, name)
    with pytest.raises(pickle.UnpicklingError):
        unpickler.find_class("collections", "deque")
