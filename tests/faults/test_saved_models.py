"""SavedModels that hold more than a network: each is refused by name, before it is loaded.

One small network is built and then altered in its parts, as an attacker would.
"""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.python.framework import op_def_registry
from tensorflow.python.trackable.resource import CapturableResource

from kaggle_kit.backends.base import MODEL, VIEWS
from kaggle_kit.backends.tensorflow import SavedModelRunner, load_runner
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.predict import predict
from kaggle_kit.model import allowed
from kaggle_kit.model.saved_model_check import check_saved_model
from kaggle_kit.model.saved_variables import read_table
from tests.helpers.complaints import check_complaint
from tests.helpers.saved_models import (
    SIDE,
    SPEC,
    module_of,
    network,
    read_altered,
    save_network,
    write_table,
    write_varint,
)
from tests.helpers.signed_bundles import sign

CANARY = "canary"  # what an attack writes, in the working folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working folder, where an attack would leave a file."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A network that is in order."""
    return save_network(tmp_path_factory.mktemp("source") / "model")


@pytest.fixture
def altered(source):
    """Its parts, to be altered."""
    return read_altered(source)


def check_refused(folder, here, word):
    """Refused with a word of the message, and nothing of it was loaded."""
    with pytest.raises(ArtefactError, match=word) as caught:
        check_saved_model(folder, VIEWS)
    check_complaint(caught.value, folder)
    assert "got" in str(caught.value)
    assert not list(here.iterdir())


def test_a_network_is_let_through_and_computes(altered, tmp_path):
    """Also written anew, as the attacks below are."""
    runner = SavedModelRunner(altered.write(tmp_path / "model"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    found = runner.start(pixels)()["embedding"]
    expected = network(pixels, *module_of().weights)["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


# Attacks that TensorFlow itself can save. Each is shown to work, and then to be refused.


def write_canary():
    return tf.io.write_file(tf.constant(os.path.abspath(CANARY)), "x")


class Restored(tf.Module):
    """Writes as it is restored."""

    def _serialize_to_tensors(self):
        return {"x": tf.constant(0.0)}

    def _restore_from_tensors(self, restored):
        with tf.control_dependencies([write_canary()]):
            return tf.identity(restored["x"])


class Prepared(CapturableResource):
    """A resource that writes as it is made ready."""

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

    def _initialize(self):
        write_canary()


def restored(folder):
    return save_network(folder, evil=Restored())


def prepared(folder):
    module = module_of()
    module.evil = Prepared()
    kernel = module.weights

    def serve(images):
        handle = tf.raw_ops.VarIsInitializedOp(resource=module.evil.resource_handle)
        with tf.control_dependencies([handle]):
            return network(images, *kernel)

    module.serve = tf.function(serve, input_signature=SPEC)
    tf.saved_model.save(module, str(folder))
    return folder


def swapped(folder):
    """Two functions of one interface: the optimiser takes the one for the device."""

    def one(name, device, more):
        attributes = {"api_implements": name, "api_preferred_device": device}

        @tf.function(experimental_attributes=attributes, input_signature=[SPEC_1])
        def pooled(x):
            with tf.control_dependencies(more()):
                return tf.reduce_mean(x, [1, 2])

        return pooled

    plain = one("pool", "GPU", list)
    evil = one("pool", "CPU", lambda: [write_canary()])

    def serve(images):
        return {"embedding": tf.math.l2_normalize(plain(tf.cast(images, tf.float32)))}

    module = tf.Module()
    module.weights = [tf.Variable(1.0)]
    module.serve = tf.function(serve, input_signature=SPEC)
    module.evil = evil
    tf.saved_model.save(module, str(folder))
    return folder


SPEC_1 = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, "x")


def renamed(folder):
    """Children by whose names the loader finds the functions that restore an object."""
    save_network(folder.with_name("with"), evil=Restored())
    altered = read_altered(folder.with_name("with"))
    for node in altered.nodes:
        for functions in node.saveable_objects.values():
            ids = (functions.save_function, functions.restore_function)
            names = ("_serialize_to_tensors", "_restore_from_tensors")
            for child, i in zip(names, ids, strict=True):
                node.children.add(local_name=child, node_id=i)
        node.ClearField("saveable_objects")
    return altered.write(folder)


REAL = {
    "restored": (restored, "WriteFile"),
    "prepared": (prepared, "VarHandleOp|WriteFile"),  # in the order of the file
    "swapped": (swapped, "WriteFile|api_implements"),
    "renamed": (renamed, "WriteFile"),
}


@pytest.mark.parametrize("name", REAL)
def test_an_attack_that_works_is_refused(name, tmp_path, here):
    attack, word = REAL[name]
    folder = attack(tmp_path / "model")
    (here / CANARY).unlink(missing_ok=True)  # what saving may have written
    check_refused(folder, here, word)
    with pytest.raises(ArtefactError):
        load_runner(folder)
    assert not list(here.iterdir())
    loaded = tf.saved_model.load(str(folder))
    if name == "swapped":
        assert not list(here.iterdir())
        loaded.serve(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    assert (here / CANARY).exists()


def test_predict_refuses_a_bundle_whose_network_writes(
    bundle_dir, competition, tmp_path, here
):
    """Its manifest lists the network; it is not signed."""
    bundle = shutil.copytree(bundle_dir, tmp_path / "bundle")
    model = bundle / "embedders" / "0" / MODEL
    shutil.rmtree(model)
    restored(model)
    sign(bundle)
    with pytest.raises(ArtefactError, match="'WriteFile'") as caught:
        predict(bundle, competition, here / "submission.csv")
    check_complaint(caught.value, model)
    assert not (here / CANARY).exists()


# Attacks that are written into a network by hand. Each has to be refused for itself, with
# nothing else in it that would be refused.

ATTACKS = {}


def attack(word):
    """Collect an attack, with a word of its refusal."""

    def collect(function):
        ATTACKS[function.__name__] = (function, word)
        return function

    return collect


def add_node(nodes, op, name="evil", **attributes):
    """Add a node, whose attributes are text or numbers."""
    node = nodes.add(name=name, op=op)
    for key, value in attributes.items():
        if isinstance(value, bytes):
            node.attr[key].s = value
        else:
            node.attr[key].type = value
    return node


def add_function(a, name="evil"):
    """Add a function that computes nothing."""
    function = a.graph.graph_def.library.function.add()
    function.signature.name = name
    return function


def call(nodes, name, op="PartitionedCall"):
    node = add_node(nodes, op, f"call_of_{name}_{len(nodes)}")
    node.attr["f"].func.name = name
    return node


def saver_name(a, word="save"):
    return a.function(f"traced_{word}").signature.name


# objects


@attack("saveable_objects")
def restored_by_a_harmless_function(a):
    i = [node.WhichOneof("kind") for node in a.nodes].index("function")
    saveable = a.nodes[0].saveable_objects["_serialize_to_tensors"]
    saveable.save_function = saveable.restore_function = i


@attack("saveable_objects")
def a_weight_restored_by_a_function(a):
    a.object("variable").saveable_objects["VARIABLE_VALUE"].restore_function = 2


@attack("registered_name")
def of_a_registered_class(a):
    a.nodes[0].registered_name = "tf.StaticHashTable"


@attack("registered_saver")
def of_a_registered_saver(a):
    a.nodes[0].registered_saver = "tf.TPUEmbeddingCallback"


@attack("serialized_user_proto")
def with_data_of_a_class(a):
    a.nodes[0].serialized_user_proto.type_url = "x"


@attack("slot_variables")
def with_a_slot_of_an_optimiser(a):
    a.nodes[0].slot_variables.add(slot_name="m", slot_variable_node_id=5)


def add_object(a, kind, name="evil"):
    """Add an object of a kind, as a child of the root, also among the weights."""
    node = a.nodes.add()
    getattr(node, kind).SetInParent()
    for parent in (a.nodes[0], a.objects.nodes[0]):
        parent.children.add(local_name=name, node_id=len(a.nodes) - 1)
    a.objects.nodes.add()
    return node


@attack("kind 'asset'")
def with_an_asset_object(a):
    add_object(a, "asset")


@attack("'Const', which is no constant of numbers")
def with_a_constant_object_of_text(a):
    add_object(a, "constant").constant.operation = "Const"


@attack("'NoOp', which is no constant of numbers")
def with_a_constant_object_that_is_none(a):
    add_object(a, "constant").constant.operation = "NoOp"


@attack("which does not fit, bound")
def with_a_constant_in_place_of_a_weight(a):
    constant(a, 1, [], a.graph.graph_def.node, float_val=[0.0])
    add_object(a, "constant").constant.operation = "evil"
    for concrete in a.graph.object_graph_def.concrete_functions.values():
        concrete.bound_inputs[0] = len(a.nodes) - 1


@attack("a child '_call_flat'")
def with_a_child_of_a_concrete_function(a):
    a.object("bare_concrete_function").children.add(local_name="_call_flat", node_id=0)


@attack("kind 'resource'")
def with_a_resource_object(a):
    add_object(a, "resource")


@attack("kind 'captured_tensor'")
def with_a_captured_tensor(a):
    add_object(a, "captured_tensor")


@attack("kind None")
def with_an_object_of_no_kind(a):
    add_object(a, "variable").ClearField("variable")


@attack("'optimizer'")
def with_an_optimiser(a):
    """For which the loader imports a package."""
    add_object(a, "user_object").user_object.identifier = "optimizer"


@attack("'_tf_keras_network'")
def with_a_layer_of_keras(a):
    add_object(a, "user_object").user_object.identifier = "_tf_keras_network"


@attack("'metadata'")
def with_metadata_of_keras(a):
    a.nodes[0].user_object.metadata = "{}"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "_restore_from_tensors",
            "__call__",
            "__class__",
            "_map_resources",
            "a b",
            "",
        ),
        *("_self_saveable_object_factories", "__setattr__", "x" * 101, "é"),
    ],
)
def test_a_child_with_a_name_of_the_loader_is_refused(name, altered, tmp_path, here):
    add_object(altered, "user_object", name).user_object.identifier = "signature_map"
    check_refused(altered.write(tmp_path / "model"), here, "a child")


@attack("a child '1000000000'")
def with_a_list_that_grows(a):
    """To a thousand million, of which all but two are nothing."""
    children = next(n for n in a.nodes if "list" in n.user_object.identifier).children
    children[1].local_name = "1000000000"


@attack("two children")
def with_two_children_of_one_name(a):
    a.nodes[0].children.add().CopyFrom(a.nodes[0].children[0])


@attack("a child 999")
def with_a_child_that_is_not_there(a):
    a.nodes[0].children.add(local_name="x", node_id=999)


@attack("which no other object holds")
def with_weights_that_nothing_holds(a):
    """They are deleted before the network is called."""
    for root in (a.nodes[0], a.objects.nodes[0]):
        (i,) = (i for i, c in enumerate(root.children) if c.local_name == "weights")
        del root.children[i]


@attack("a child '_python_function'")
def with_a_child_of_a_function(a):
    a.object("function").children.add(local_name="_python_function", node_id=0)


@attack("a child 'handle'")
def with_a_child_of_a_weight(a):
    a.object("variable").children.add(local_name="handle", node_id=0)


@attack("as root")
def with_a_list_as_root(a):
    del a.nodes[0].children[:]
    a.nodes[0].user_object.identifier = "trackable_list_wrapper"


@attack("an object of kind 'user_object' as 'one'")
def with_a_view_that_is_no_function(a):
    add_object(a, "user_object", "one").user_object.identifier = "signature_map"


@attack("object 0, which does not fit, bound")
def with_an_object_bound_that_is_no_weight(a):
    for concrete in a.graph.object_graph_def.concrete_functions.values():
        concrete.bound_inputs[0] = 0


@attack("which does not fit, bound")
def with_a_weight_bound_in_place_of_another(a):
    for concrete in a.graph.object_graph_def.concrete_functions.values():
        concrete.bound_inputs[:] = concrete.bound_inputs[::-1]


@attack("4 objects bound")
def with_weights_bound_twice(a):
    for concrete in a.graph.object_graph_def.concrete_functions.values():
        concrete.bound_inputs.extend(list(concrete.bound_inputs))


@attack("calls the function '__inference__traced_save")
def with_the_saver_as_its_network(a):
    """It writes a file whose name is its argument."""
    functions = a.graph.object_graph_def.concrete_functions
    functions[saver_name(a)].canonicalized_input_signature.none_value.SetInParent()
    a.object("function").function.concrete_functions[:] = [saver_name(a)]


@attack("the function 'x' as object")
def with_a_function_that_is_not_there(a):
    a.object("function").function.concrete_functions[:] = ["x"]


@attack("the function '' as object")
def with_a_function_of_none(a):
    del a.object("function").function.concrete_functions[:]


@attack("calls the function 'x'")
def with_a_signature_of_no_function(a):
    a.graph.object_graph_def.concrete_functions["x"].bound_inputs[:] = []


@attack("jit_compile")
def to_be_compiled(a):
    a.object("function").function.function_spec.jit_compile = 1


@attack("type_spec_value")
def with_an_argument_of_a_registered_class(a):
    spec = a.object("function").function.function_spec.input_signature
    spec.tuple_value.values[0].type_spec_value.type_spec_class_name = "VariableSpec"


@attack("tensor_value")
def with_a_tensor_in_a_signature(a):
    (concrete, *_) = a.graph.object_graph_def.concrete_functions.values()
    concrete.output_signature.tensor_value.dtype = allowed.STRING


@attack("'os.system'")
def with_a_tuple_of_another_name(a):
    spec = a.object("function").function.function_spec
    spec.fullargspec.named_tuple_value.name = "os.system"


# functions


@attack("api_implements")
def swapped_for_its_interface(a):
    add_function(a).attr["api_implements"].s = b"x"


@attack("_implements")
def swapped_by_name(a):
    a.serve.attr["_implements"].s = b"x"


@attack("api_preferred_device")
def swapped_for_a_device(a):
    a.serve.attr["api_preferred_device"].s = b"CPU"


@attack("_construction_context")
def of_another_runtime(a):
    a.serve.attr["_construction_context"].s = b"kNotEagerRuntime"


@attack("_composite_device")
def with_an_attribute_of_an_argument(a):
    a.serve.arg_attr[0].attr["_composite_device"].s = b"x"


@attack("resource_arg_unique_id")
def with_shared_arguments(a):
    a.serve.resource_arg_unique_id[1] = 1


@attack("'gradient'")
def with_a_gradient(a):
    name = a.serve.signature.name
    library = a.graph.graph_def.library
    library.gradient.add(function_name=name, gradient_func=name)


@attack("registered_gradients")
def with_a_registered_gradient(a):
    gradients = a.graph.graph_def.library.registered_gradients
    gradients.add(gradient_func=a.serve.signature.name, registered_op_type="Relu")


@attack("2 of the function")
def with_two_functions_of_one_name(a):
    a.graph.graph_def.library.function.add().CopyFrom(a.serve)


@attack("2 of the node")
def with_two_nodes_of_one_name(a):
    a.graph.graph_def.node.add().CopyFrom(a.graph.graph_def.node[0])


@attack("debug_info")
def with_more_in_the_graph(a):
    a.graph.graph_def.debug_info.SetInParent()


@attack("'attr' in the signature")
def with_a_function_of_any_type(a):
    a.serve.signature.attr.add(name="T", type="type")


@attack("DT_VARIANT")
def with_an_argument_that_is_anything(a):
    add_function(a).signature.input_arg.add(name="x", type=21)


@attack("no variable as the argument")
def with_a_resource_of_any_kind(a):
    add_function(a).signature.input_arg.add(name="x", type=allowed.RESOURCE)


@attack("'WriteFile' of the node 'evil' of the graph")
def with_a_node_in_the_graph(a):
    add_node(a.graph.graph_def.node, "WriteFile")


@attack("'ReadFile' of the node 'evil' in the function 'evil'")
def in_a_function_that_nothing_calls(a):
    add_node(add_function(a).node_def, "ReadFile")


@attack("'WriteFile' .* '__inference__traced_restore")
def in_the_saver(a):
    add_node(a.function("traced_restore").node_def, "WriteFile")


@attack("a call of '__inference__traced_save")
def calling_the_saver(a):
    call(a.serve.node_def, saver_name(a), "StatefulPartitionedCall")


@attack("'(Restore|Save)V2'")
def without_a_saver(a):
    a.graph.ClearField("saver_def")


@attack("'Cast' of the node")
def with_the_network_for_a_saver(a):
    """What the saver calls may restore, and not compute."""
    (node,) = (
        node
        for node in a.graph.graph_def.node
        if node.name == a.graph.saver_def.restore_op_name
    )
    node.attr["f"].func.name = a.serve.signature.name


@attack("the name of an operation, 'Relu'")
def with_the_saver_by_the_name_of_an_operation(a):
    """The loader takes each node for a call whose operation is the name of a function."""
    call_node = next(
        node
        for node in a.graph.graph_def.node
        if node.name == a.graph.saver_def.restore_op_name
    )
    a.function("traced_restore").signature.name = "Relu"
    call_node.attr["f"].func.name = "Relu"


@attack("a call of 'x', which is no function")
def calling_nothing_in_the_graph(a):
    call(a.graph.graph_def.node, "x")


@attack("a call of 'x' in the function")
def calling_nothing(a):
    call(a.serve.node_def, "x")


@attack("a circle")
def calling_itself(a):
    call(add_function(a).node_def, "evil")


@attack("more than 100000 nodes")
def calling_twice_what_calls_twice(a):
    """Thirty times: 2 ** 30 calls, once they are put in line."""
    add_function(a, "call_0")
    for i in range(30):
        nodes = add_function(a, f"call_{i + 1}").node_def
        call(nodes, f"call_{i}")
        call(nodes, f"call_{i}")


@attack("a function in the attribute 'T'")
def with_a_function_where_a_type_is_due(a):
    add_node(a.serve.node_def, "Relu").attr["T"].func.name = a.serve.signature.name


@attack("a function in the attribute 'f'")
def with_attributes_of_a_call(a):
    add_function(a)
    node = call(a.serve.node_def, "evil")
    node.attr["f"].func.attr["x"].func.name = "evil"


@attack("a function or a tensor in the attribute '_output_shapes'")
def with_a_list_of_functions(a):
    node = add_node(a.serve.node_def, "Relu")
    node.attr["_output_shapes"].list.func.add(name=a.serve.signature.name)


@attack("a placeholder")
def with_an_attribute_to_be_filled_in(a):
    add_node(a.serve.node_def, "Relu").attr["T"].placeholder = "T"


@attack("a tensor in the attribute '_output_shapes'")
def with_a_tensor_where_shapes_are_due(a):
    add_node(a.serve.node_def, "Relu").attr["_output_shapes"].tensor.dtype = 1


@pytest.mark.parametrize(
    "name",
    [
        *("_class", "_kernel", "_XlaMustCompile", "_XlaCompile", "_gradient_op_type"),
        *("_xla_outside_compilation", "_tpu_replicate", "_grappler_x", "x", ""),
    ],
)
def test_an_attribute_of_a_node_that_is_not_listed_is_refused(
    name, altered, tmp_path, here
):
    add_node(altered.serve.node_def, "Relu").attr[name].s = b"x"
    check_refused(altered.write(tmp_path / "model"), here, f"the attribute '{name}'")


@attack("a type 1003")
def with_a_type_of_results(a):
    node = add_node(a.serve.node_def, "Relu")
    node.experimental_type.type_id = 1003  # an array


@pytest.mark.parametrize(
    "device",
    ["/job:worker/task:0/device:CPU:0", "/device:TPU:0", "/device:XLA_CPU:0", "x"],
)
def test_a_node_on_another_device_is_refused(device, altered, tmp_path, here):
    add_node(altered.serve.node_def, "Relu").device = device
    check_refused(altered.write(tmp_path / "model"), here, f"the device '{device}'")


@attack("executor_type")
def with_another_executor(a):
    add_function(a)
    call(a.serve.node_def, "evil").attr["executor_type"].s = b"SINGLE_THREADED"


def with_config(a, text):
    add_function(a)
    config = text_format.Parse(text, ConfigProto()).SerializeToString()
    call(a.serve.node_def, "evil").attr["config_proto"].s = config


@attack("the option 'name'")
def with_options_of_a_session(a):
    with_config(a, "experimental { session_metadata { name: 'x' } }")


@attack("'custom_optimizers'")
def with_another_optimiser_of_graphs(a):
    with_config(
        a, "graph_options { rewrite_options { custom_optimizers { name: 'x' } } }"
    )


@attack("'cluster_def'")
def with_other_machines(a):
    with_config(a, "cluster_def { job { name: 'x' } }")


def test_a_call_with_damaged_options_is_malformed(altered, tmp_path):
    add_function(altered)
    node = call(altered.serve.node_def, "evil")
    node.attr["config_proto"].s = b"\xff"
    with pytest.raises(ValueError, match="a damaged config_proto"):
        check_saved_model(altered.write(tmp_path / "model"), VIEWS)


# the memory that little needs


def constant(a, dtype, sides, nodes=None, **values):
    node = add_node(a.serve.node_def if nodes is None else nodes, "Const")
    node.attr["dtype"].type = dtype
    tensor = TensorProto(dtype=dtype, **values)
    for side in sides:
        tensor.tensor_shape.dim.add(size=side)
    node.attr["value"].tensor.CopyFrom(tensor)
    return node


@attack("bytes of constants")
def with_a_constant_of_four_terabytes(a):
    constant(a, 1, [2**20, 2**20], float_val=[0.0])


@attack("bytes of constants")
def with_a_text_a_million_times(a):
    constant(a, 7, [2**20], a.graph.graph_def.node, string_val=[b"x" * 1000])


@attack("a constant without a shape")
def with_a_constant_of_less_than_nothing(a):
    constant(a, 1, [-1], float_val=[0.0])


@attack("not of its shape")
def with_a_constant_of_another_length(a):
    constant(a, 1, [5], tensor_content=b"1234")


@attack("DT_STRING")
def with_text_in_the_network(a):
    constant(a, 7, [], string_val=[b"/etc/hostname"])


@attack("DT_RESOURCE")
def with_a_handle_in_the_network(a):
    constant(a, 20, [])


@attack("DT_VARIANT")
def with_a_variant_in_the_network(a):
    constant(a, 21, [])


def set_shape(a, sides, index=True):
    """The shape of the first weight, in the objects and in the index of weights."""
    key, entry = a.entry()
    i = next(
        i
        for i, node in enumerate(a.objects.nodes)
        if any(own.checkpoint_key.encode() == key for own in node.attributes)
    )
    variable = a.nodes[i].variable
    before = variable.shape.SerializeToString()
    shapes = [variable.shape] + [entry.shape] * index
    for function in a.graph.graph_def.library.function:
        for argument in function.signature.input_arg:
            for handle in argument.handle_data:
                if handle.shape.SerializeToString() == before:
                    shapes.append(handle.shape)
    for shape in shapes:
        del shape.dim[:]
        for side in sides:
            shape.dim.add(size=side)
    a.index[key] = entry.SerializeToString()
    return key, entry


@attack("bytes for 1099511627776 numbers")
def with_a_weight_of_four_terabytes(a):
    set_shape(a, [2**20, 2**20])


@attack("weights of another shape")
def with_a_weight_larger_than_in_the_index(a):
    set_shape(a, [2**20, 2**20], index=False)


@attack("overlap or end behind")
def with_a_weight_that_ends_behind_its_file(a):
    key, entry = set_shape(a, [2**20, 2**20])
    entry.size = 2**42
    a.index[key] = entry.SerializeToString()


@attack("a shape that is not known")
def with_a_weight_of_no_known_shape(a):
    a.object("variable").variable.shape.dim[0].size = -1


@attack("'device' in object")
def with_a_weight_on_a_device(a):
    a.object("variable").variable.device = "/job:x"


@attack("DT_STRING")
def with_a_weight_of_text(a):
    a.object("variable").variable.dtype = 7


# the index of the weights


def alter_entry(a, **values):
    key, entry = a.entry()
    for name, value in values.items():
        setattr(entry, name, value)
    a.index[key] = entry.SerializeToString()


@attack("'slices'")
def with_slices_of_a_weight(a):
    key, entry = a.entry()
    entry.slices.add().extent.add(start=0, length=1)
    a.index[key] = entry.SerializeToString()


@attack("overlap or end behind")
def with_weights_that_overlap(a):
    keys = sorted(key for key in a.index if b"VARIABLE" in key)
    entries = [type(a.entry()[1]).FromString(a.index[key]) for key in keys]
    entries[1].offset = entries[0].offset
    a.index[keys[1]] = entries[1].SerializeToString()


@attack("data file 7")
def with_a_weight_in_another_file(a):
    alter_entry(a, shard_id=7)


@attack("bytes for 108 numbers")
def with_a_weight_of_fewer_bytes(a):
    alter_entry(a, size=3)


@attack("no weights of its data type")
def with_a_weight_of_another_type(a):
    alter_entry(a, dtype=3)


@attack("DT_RESOURCE")
def with_a_handle_for_a_weight(a):
    alter_entry(a, dtype=20)


@attack("a negative place|overlap")
def with_a_weight_before_its_file(a):
    alter_entry(a, offset=-100)


@attack("without a variable")
def with_a_weight_of_nobody(a):
    header = b""
    key = b"x/.ATTRIBUTES/VARIABLE_VALUE"
    entry = a.entry()[1]
    entry.size, entry.offset = 0, 0
    del entry.shape.dim[:]
    entry.shape.dim.add(size=0)
    a.index[key] = entry.SerializeToString()
    assert header in a.index


@attack("1000000 data files")
def with_a_million_files(a):
    a.index[b""] = b"\x08\xc0\x84\x3d"


@attack("byte order")
def of_another_byte_order(a):
    a.index[b""] = b"\x08\x01\x10\x01"


@attack("registered_saver")
def with_a_saver_among_the_weights(a):
    a.objects.nodes[0].registered_saver.name = "x"


@attack("slot_variables")
def with_a_slot_among_the_weights(a):
    a.objects.nodes[0].slot_variables.add(slot_name="m")


@attack("other children")
def with_other_children_among_the_weights(a):
    a.objects.nodes[0].children[0].local_name = "x"


@attack("other attributes")
def with_other_values_of_an_object(a):
    a.objects.nodes[0].attributes.add(name="py_state", checkpoint_key="x")


@attack("objects in variables.index, and")
def with_more_objects_among_the_weights(a):
    a.objects.nodes.add()


def test_a_weight_in_a_file_that_is_mostly_a_hole_is_refused(altered, tmp_path, here):
    """It takes no disk, and would take 8 GB of memory."""
    key, entry = set_shape(altered, [2**31])
    entry.size, entry.offset = 2**33, 2**20
    altered.index[key] = entry.SerializeToString()
    folder = altered.write(tmp_path / "model")
    (data,) = folder.glob("variables/*data*")
    os.truncate(data, 2**34)
    check_refused(folder, here, "more than 8589934592 bytes of weights")


def test_a_second_entry_hidden_in_a_value_is_found(source, tmp_path, here):
    """A restart of the block points into the middle of a value, where another pair is."""
    folder = shutil.copytree(source, tmp_path / "model")
    path = folder / "variables" / "variables.index"
    index = dict(read_table(path.read_bytes()))
    hidden = write_varint(0) + write_varint(3) + write_varint(1) + b"abc" + b"x"
    index[b"\xfe"] = b"1234" + hidden
    content = write_table(index, restart=hidden)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a restart within a pair"):
        check_saved_model(folder, VIEWS)


def test_an_index_whose_keys_grow_takes_no_time(source, tmp_path):
    """Each shares all of the one before: a megabyte stands for a hundred gigabytes."""
    folder = shutil.copytree(source, tmp_path / "model")
    index = {b"a" * (i + 1): b"" for i in range(600)}
    (folder / "variables" / "variables.index").write_bytes(write_table(index))
    with pytest.raises(ValueError, match="too long"):
        check_saved_model(folder, VIEWS)


# around the graph


@attack("asset_file_def")
def with_an_asset(a):
    a.graph.asset_file_def.add(filename="/etc/hostname")


@attack("the collection 'table_initializer'")
def with_initialisers_of_tables(a):
    a.graph.collection_def["table_initializer"].node_list.value.append("NoOp")


@attack("the collection 'saved_model_main_op'")
def with_an_operation_that_runs_on_loading(a):
    node = next(n.name for n in a.graph.graph_def.node if n.op.endswith("Call"))
    a.graph.collection_def["saved_model_main_op"].node_list.value[:] = [node]


@attack("the signature '__saved_model_init_op'")
def with_a_signature_that_runs_on_loading(a):
    node = next(n.name for n in a.graph.graph_def.node if n.op.endswith("Call"))
    for tensor in a.graph.signature_def["__saved_model_init_op"].outputs.values():
        tensor.name = node


@attack("the signature '__saved_model_train_op'")
def with_a_signature_of_training(a):
    a.graph.signature_def["__saved_model_train_op"].SetInParent()


@attack("'defaults'")
def with_defaults_of_a_signature(a):
    a.graph.signature_def["serving_default"].defaults["images"].SetInParent()


@attack("any_info")
def with_any_message(a):
    a.graph.meta_info_def.any_info.type_url = "x"


@attack("function_aliases")
def with_other_names_of_functions(a):
    a.graph.meta_info_def.function_aliases["x"] = "y"


@attack("2 graphs")
def with_two_graphs(a):
    a.saved.meta_graphs.add().CopyFrom(a.graph)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_before_it_is_loaded(name, altered, tmp_path, here):
    alter, word = ATTACKS[name]
    alter(altered)
    check_refused(altered.write(tmp_path / "model"), here, word)


def test_there_are_many():
    assert len(ATTACKS) >= 90


# operations

DANGEROUS = [
    "WriteFile",
    "ReadFile",
    "MatchingFiles",
    "GenerateVocabRemapping",
    "DecodeProtoV2",
    "EncodeProto",
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "HashTableV2",
    "InitializeTableFromTextFileV2",
    "LookupTableImportV2",
    "LookupTableFindV2",
    "TFRecordReaderV2",
    "WholeFileReaderV2",
    "TextLineDataset",
    "TFRecordDataset",
    "SnapshotDatasetV2",
    "SaveDatasetV2",
    "MapDataset",
    "IteratorV2",
    "Save",
    "SaveV2",
    "Restore",
    "RestoreV2",
    "MergeV2Checkpoints",
    "LoadAndRemapMatrix",
    "PrintV2",
    "StringFormat",
    "WriteScalarSummary",
    "CreateSummaryFileWriter",
    "WriteGraphSummary",
    "CollectiveReduceV2",
    "RemoteCall",
    "SymbolicGradient",
    "While",
    "StatelessWhile",
    "If",
    "StatelessIf",
    "Case",
    "XlaCallModule",
    "XlaLaunch",
    "VarHandleOp",
    "AssignVariableOp",
    "ImmutableConst",
    "DebugIdentityV2",
    "DebugNumericSummaryV2",
    "RandomUniform",
    "DecodeJpeg",
    "Fill",
    "Tile",
    "BroadcastTo",
    "Range",
    "Placeholder",
    "StaticRegexReplace",
    "_Recv",
    "Batch",
    "NoSuchOperation",
]


@pytest.mark.parametrize("op", DANGEROUS)
def test_an_operation_that_is_not_listed_is_refused(op, altered, tmp_path, here):
    add_node(altered.serve.node_def, op)
    word = f"'{op}' of the node 'evil' in the function"
    check_refused(altered.write(tmp_path / "model"), here, word)


def test_the_listed_operations_keep_no_state_and_know_no_text():
    """As TensorFlow itself describes them: numbers in, numbers out."""
    for name in allowed.MATHS:
        definition = op_def_registry.get(name)
        assert definition is not None and not definition.is_stateful, name
        assert not definition.is_distributed_communication, name
        arguments = [*definition.input_arg, *definition.output_arg]
        held = {a.type for a in arguments} - {0}
        assert held <= set(allowed.NUMBERS), name
        kinds = {a.type for a in definition.attr}
        assert "func" not in kinds and "list(func)" not in kinds, name
        words = ("file", "path", "dir", "device", "server", "container", "shared_name")
        for attribute in definition.attr:
            assert not any(word in attribute.name for word in words), name


# files


@pytest.mark.parametrize(
    "name",
    [
        *("saved_model.pbtxt", "saved_model.cpb", "keras_metadata.pb", "debug/x.pb"),
        *("assets/names.txt", "assets.extra/x", "variables/x", "variables/checkpoint"),
        *("variables/variables.data-00001-of-00002", ".hidden", "x" * 200),
    ],
)
def test_a_file_that_is_not_known_is_refused(name, source, tmp_path, here):
    folder = shutil.copytree(source, tmp_path / "model")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    check_refused(folder, here, "the file|files in")


def test_an_empty_folder_of_assets_is_none(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "model")
    (folder / "assets").mkdir()
    check_saved_model(folder, VIEWS)


@pytest.mark.parametrize("content", [b"\xff\xff", b"x" * 5000])
def test_a_fingerprint_that_is_none_is_refused(content, source, tmp_path, here):
    folder = shutil.copytree(source, tmp_path / "model")
    (folder / "fingerprint.pb").write_bytes(content)
    with pytest.raises(ArtefactError) as caught:
        load_runner(folder)
    check_complaint(caught.value, folder)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
@pytest.mark.parametrize("fault", ["hole", "pipe", "folder", "text", "empty", "gone"])
def test_a_file_that_is_not_one_is_refused(name, fault, source, tmp_path, here):
    """A hole of a terabyte is not read, and a pipe is not waited for."""
    folder = shutil.copytree(source, tmp_path / "model")
    path = folder / name
    path.unlink()
    if fault == "hole":
        path.touch()
        os.truncate(path, 2**40)
    elif fault == "pipe":
        os.mkfifo(path)
    elif fault == "folder":
        path.mkdir()
    elif fault != "gone":
        path.write_bytes(b"no network" if fault == "text" else b"")
    with pytest.raises(ArtefactError) as caught:
        load_runner(folder)
    check_complaint(caught.value, folder)
    assert not list(here.iterdir())
