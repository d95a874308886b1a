"""A LiteRT file that could crash its interpreter is refused before that sees it."""

import os
import struct

import flatbuffers
import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kaggle_kit.backends.flatbuffer import MAX_READS, FlatBuffer
from kaggle_kit.backends.litert import LiteRunner
from kaggle_kit.backends.litert_check import check_lite
from kaggle_kit.backends.litert_rules import RULES
from kaggle_kit.backends.litert_schema import Model
from kaggle_kit.errors import ArtefactError
from tests.helpers.complaints import check_complaint
from tests.helpers.lite_exports import FLOATS, INTEGERS, KINDS, write_exports
from tests.helpers.longer import but_for

CODES = schema.BuiltinOperator


def no_interpreter(path):
    """In place of an interpreter, which must not see the file."""
    pytest.fail(f"{path} was not refused")


@pytest.mark.parametrize("kind", but_for([], KINDS))
def test_every_network_of_the_kit_passes(kind, settings, tmp_path):
    write_exports(kind, settings, tmp_path)
    for name in (FLOATS, INTEGERS):
        check_lite(tmp_path / name)


def test_the_networks_of_a_bundle_pass(bundle_dir, exports):
    check_lite(bundle_dir / "embedders" / "0" / FLOATS)
    for name in (FLOATS, INTEGERS):
        check_lite(exports / name)


@pytest.mark.parametrize("name", [FLOATS, INTEGERS])
def test_a_file_is_read_as_the_library_of_its_format_reads_it(exports, name):
    content = (exports / name).read_bytes()
    found = FlatBuffer(content).read(Model, b"TFL3")
    expected = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,), (other,) = found.subgraphs, expected.subgraphs
    assert [code.code for code in found.codes] == [
        code.builtinCode for code in expected.operatorCodes
    ]
    for tensor, same in zip(graph.tensors, other.tensors, strict=True):
        assert tensor.shape == tuple(() if same.shape is None else same.shape)
        assert (tensor.type, tensor.buffer) == (same.type, same.buffer)
        scale = None if same.quantization is None else same.quantization.scale
        assert tensor.quantization.scale == tuple(() if scale is None else scale)
        data = expected.buffers[same.buffer].data
        assert bytes(found.buffers[same.buffer].data) == bytes(
            b"" if data is None else data
        )
    for operator, same in zip(graph.operators, other.operators, strict=True):
        assert operator.inputs == tuple(same.inputs)
        assert operator.outputs == tuple(same.outputs)
        assert operator.code == same.opcodeIndex
        if hasattr(same.builtinOptions, "strideW"):
            found_stride = operator.options.stride_h, operator.options.stride_w
            expected_stride = same.builtinOptions.strideH, same.builtinOptions.strideW
            assert found_stride == expected_stride


def test_the_codes_are_those_of_the_schema():
    assert all(getattr(CODES, rule.name) == code for code, rule in RULES.items())


class Changed:
    """A model to change: ``of("CONV_2D")`` is its first operator of that kind."""

    def __init__(self, content):
        self.model = schema.ModelT.InitFromPackedBuf(content, 0)
        (self.graph,) = self.model.subgraphs

    def of(self, name):
        codes = [code.builtinCode for code in self.model.operatorCodes]
        index = codes.index(getattr(CODES, name))
        return next(o for o in self.graph.operators if o.opcodeIndex == index)

    def input(self, name, i):
        return self.graph.tensors[self.of(name).inputs[i]]

    def set_integers(self, tensor, numbers):
        data = np.array(numbers, np.int32).view(np.uint8)
        self.model.buffers[tensor.buffer].data = data
        tensor.shape = np.array([len(numbers)], np.int32)

    def packed(self):
        builder = flatbuffers.Builder(100_000)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def swap_first(model):
    operators = model.graph.operators
    operators[0], operators[1] = operators[1], operators[0]


def repeat_first(model):
    model.graph.operators.append(model.graph.operators[0])


def other_graph(model):
    model.model.subgraphs.append(model.graph)


def add_variable(model):
    model.graph.tensors[1].isVariable = True


def shift(array, by):
    """A copy whose first element is changed."""
    return np.concatenate([[array[0] + by], array[1:]]).astype(array.dtype)


def set_shape(tensor, *shape):
    tensor.shape = np.array(shape, np.int32)


LIES = {
    "the version": lambda m: setattr(m.model, "version", 4),
    "a second subgraph": other_graph,
    "an unknown operation": lambda m: setattr(
        m.model.operatorCodes[m.of("CONV_2D").opcodeIndex], "builtinCode", CODES.WHILE
    ),
    "a custom operation": lambda m: setattr(
        m.model.operatorCodes[0], "customCode", b"FlexReadFile"
    ),
    "a version of an operation": lambda m: setattr(
        m.model.operatorCodes[0], "version", 99
    ),
    "an index of an operation": lambda m: setattr(m.of("CONV_2D"), "opcodeIndex", 99),
    "an input that is no tensor": lambda m: setattr(
        m.of("CONV_2D"), "inputs", shift(m.of("CONV_2D").inputs, 9999)
    ),
    "a negative input": lambda m: setattr(
        m.of("CONV_2D"), "inputs", np.array([-7, 1, 2], np.int32)
    ),
    "an input that is left out": lambda m: setattr(
        m.of("MEAN"), "inputs", np.array([-1, -1], np.int32)
    ),
    "too few inputs": lambda m: setattr(
        m.of("MEAN"), "inputs", m.of("MEAN").inputs[:1]
    ),
    "an output that is no tensor": lambda m: setattr(
        m.of("MEAN"), "outputs", np.array([9999], np.int32)
    ),
    "an output that is a constant": lambda m: setattr(
        m.of("MEAN"), "outputs", m.of("MEAN").inputs[1:]
    ),
    "an operation before what it needs": swap_first,
    "a tensor that is computed twice": repeat_first,
    "no parameters": lambda m: setattr(m.of("CONV_2D"), "builtinOptions", None),
    "parameters of another operation": lambda m: setattr(
        m.of("CONV_2D"), "builtinOptionsType", schema.BuiltinOptions.Pool2DOptions
    ),
    "custom parameters": lambda m: setattr(
        m.of("CONV_2D"), "customOptions", np.zeros(8, np.uint8)
    ),
    "temporary tensors": lambda m: setattr(
        m.of("CONV_2D"), "intermediates", np.array([0], np.int32)
    ),
    "a buffer that is not there": lambda m: setattr(m.graph.tensors[1], "buffer", 999),
    "a type": lambda m: setattr(
        m.input("CONV_2D", 1), "type", schema.TensorType.STRING
    ),
    "a variable": add_variable,
    "a shape of other data": lambda m: set_shape(m.input("CONV_2D", 1), 8, 5, 5, 4),
    "a negative side": lambda m: set_shape(m.graph.tensors[0], 1, -32, -32, 3),
    "a side of 0": lambda m: set_shape(m.graph.tensors[0], 1, 0, 0, 3),
    "a size that overflows": lambda m: set_shape(
        m.graph.tensors[0], 1, 65536, 65536, 3
    ),
    "images that are not square": lambda m: set_shape(m.graph.tensors[0], 1, 32, 64, 3),
    "data outside of the file's format": lambda m: setattr(
        m.model.buffers[3], "offset", 4096
    ),
    "sparse weights": lambda m: setattr(
        m.input("CONV_2D", 1), "sparsity", schema.SparsityParametersT()
    ),
    "a filter for other channels": lambda m: set_shape(
        m.input("CONV_2D", 1), *np.array(m.input("CONV_2D", 1).shape)[[3, 1, 2, 0]]
    ),
    "a stride of 0": lambda m: setattr(m.of("CONV_2D").builtinOptions, "strideH", 0),
    "a dilation of 0": lambda m: setattr(
        m.of("CONV_2D").builtinOptions, "dilationWFactor", 0
    ),
    "a padding": lambda m: setattr(m.of("CONV_2D").builtinOptions, "padding", 7),
    "an activation": lambda m: setattr(
        m.of("CONV_2D").builtinOptions, "fusedActivationFunction", 9
    ),
    "a bias of another length": lambda m: m.set_integers(
        m.input("CONV_2D", 2), [0] * 3
    ),
    "an axis": lambda m: m.set_integers(m.input("MEAN", 1), [1, 9]),
    "an axis twice": lambda m: m.set_integers(m.input("MEAN", 1), [1, -3]),
    "a shape to reshape to": lambda m: m.set_integers(
        m.input("RESHAPE", 1), [-1, -1, 2]
    ),
    "a signature's name": lambda m: setattr(
        m.model.signatureDefs[0], "signatureKey", b"other"
    ),
    "a signature's tensor": lambda m: setattr(
        m.model.signatureDefs[0].outputs[0], "tensorIndex", 9999
    ),
    "a signature's subgraph": lambda m: setattr(
        m.model.signatureDefs[0], "subgraphIndex", 5
    ),
    "an output of the network": lambda m: setattr(
        m.graph, "outputs", np.array([-1, -1], np.int32)
    ),
    "no signature": lambda m: setattr(m.model, "signatureDefs", []),
    "a buffer of metadata": lambda m: setattr(m.model.metadata[0], "buffer", 9999),
    "unknown metadata": lambda m: setattr(m.model.metadata[0], "name", b"other"),
    "a first buffer with content": lambda m: setattr(
        m.model.buffers[0], "data", np.zeros(4, np.uint8)
    ),
}
INTEGER_LIES = {
    "a scale of 0": lambda m: setattr(
        m.input("CONV_2D", 0).quantization, "scale", np.zeros(1, np.float32)
    ),
    "a scale that is no number": lambda m: setattr(
        m.input("CONV_2D", 0).quantization, "scale", np.full(1, np.nan, np.float32)
    ),
    "too few scales": lambda m: setattr(
        m.input("CONV_2D", 1).quantization,
        "scale",
        m.input("CONV_2D", 1).quantization.scale[:-1],
    ),
    "a dimension of scales": lambda m: setattr(
        m.input("CONV_2D", 1).quantization, "quantizedDimension", 9
    ),
    "a zero point": lambda m: setattr(
        m.input("CONV_2D", 0).quantization, "zeroPoint", np.array([400], np.int64)
    ),
    "no scale": lambda m: setattr(m.input("CONV_2D", 0), "quantization", None),
}


@pytest.mark.parametrize(
    ("name", "lie"),
    [
        *(pytest.param(FLOATS, lie, id=what) for what, lie in LIES.items()),
        *(pytest.param(INTEGERS, lie, id=what) for what, lie in INTEGER_LIES.items()),
    ],
)
def test_a_file_with_one_wrong_entry_is_refused(exports, tmp_path, name, lie):
    original = (exports / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(Changed(original).packed())
    check_lite(path)  # written anew, it is the same network
    changed = Changed(original)
    lie(changed)
    path.write_bytes(changed.packed())
    with pytest.raises(ArtefactError) as caught:
        LiteRunner(path, no_interpreter)
    check_complaint(caught.value, path)


def root(content):
    return struct.unpack_from("<I", content)[0]


WRONG_BYTES = {
    "an offset out of the file": lambda c: c.__setitem__(
        slice(0, 4), struct.pack("<I", len(c))
    ),
    "an offset that is not aligned": lambda c: c.__setitem__(
        slice(0, 4), struct.pack("<I", root(c) + 1)
    ),
    "a table's own offset": lambda c: c.__setitem__(
        slice(root(c), root(c) + 4), struct.pack("<i", -(2**31))
    ),
    "another kind": lambda c: c.__setitem__(slice(4, 8), b"TFL4"),
    "the end": lambda c: c.__delitem__(slice(len(c) // 2, None)),
    "all": lambda c: c.clear(),
}


@pytest.mark.parametrize(
    "change", [pytest.param(c, id=n) for n, c in WRONG_BYTES.items()]
)
def test_a_file_with_wrong_bytes_is_refused(exports, tmp_path, change):
    content = bytearray((exports / FLOATS).read_bytes())
    change(content)
    path = tmp_path / FLOATS
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="expected a LiteRT file") as caught:
        LiteRunner(path, no_interpreter)
    check_complaint(caught.value, path)


def test_a_small_file_that_stands_for_a_large_one_is_refused(exports):
    """Many tables that refer to the same vector would take minutes to read."""
    changed = Changed((exports / FLOATS).read_bytes())
    tensor = changed.graph.tensors[1]
    tensor.shape = np.ones(50_000, np.int32)
    builder = flatbuffers.Builder(100_000)
    packed = tensor.Pack(builder)
    n = MAX_READS // 50_000 + 1
    schema.SubGraphStartTensorsVector(builder, n)
    for _ in range(n):
        builder.PrependUOffsetTRelative(packed)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    assert len(builder.Output()) < 250_000
    with pytest.raises(ValueError, match="more than"):
        FlatBuffer(bytes(builder.Output())).read(Model, b"TFL3")


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path):
    path = tmp_path / FLOATS
    os.mkfifo(path)
    with pytest.raises(ArtefactError, match="not a regular file"):
        LiteRunner(path, no_interpreter)
