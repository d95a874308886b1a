"""The operations of a LiteRT file that rearrange arrays, reduce them, or compute shapes.

As in ``litert_layers``, each function is a rule. Integers of 32 bits occur only as shapes
and the like: their numbers are computed here, so that no shape is left to be found later.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.litert_layers import (
    FLOAT,
    INT8,
    INT32,
    Array,
    Inputs,
    Shape,
    refuse,
    take,
)

Integers = NDArray[np.int32]
MAX_INDICES = 64  # integers in an array of them
MAX_PADDING = 1024


def reshaping(inputs: Inputs, options: Any) -> Array:
    """RESHAPE, to the shape of the second input."""
    x, target = take(inputs, {FLOAT, INT32}, {INT32})
    shape = numbers_of(target).ravel().tolist()
    if target.rank != 1 or shape.count(-1) > 1 or min(shape, default=1) < -1:
        refuse(f"the shape {shape}")
    if -1 in shape:
        known = math.prod(side for side in shape if side != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // max(known, 1)
    if math.prod(shape) != math.prod(x.shape):
        refuse(f"the shape {shape} of an array {x.shape}")
    known_numbers = None if x.numbers is None else x.numbers.reshape(shape)
    return Array(tuple(shape), x.type, numbers=known_numbers)


def transposition(inputs: Inputs, options: Any) -> Array:
    """TRANSPOSE."""
    x, order = take(inputs, {FLOAT}, {INT32})
    axes = numbers_of(order).ravel().tolist()
    if order.rank != 1 or sorted(axes) != list(range(x.rank)):
        refuse(f"the order {axes} of the dimensions of {x.shape}")
    return Array(tuple(x.shape[axis] for axis in axes), FLOAT)


def reversal(inputs: Inputs, options: Any) -> Array:
    """REVERSE_V2, along one dimension."""
    x, axes = take(inputs, {FLOAT, INT8}, {INT32})
    if axes.rank != 1 or len(_axes(x, axes)) != 1:
        refuse(f"the dimensions {axes.shape}")
    return Array(x.shape, x.type)


def reduction(inputs: Inputs, options: Any) -> Array:
    """MEAN, SUM and REDUCE_MAX."""
    x, axes = take(inputs, {FLOAT}, {INT32})
    return Array(_reduced(x, axes, options.keep_dims), FLOAT)


def product(inputs: Inputs, options: Any) -> Array:
    """REDUCE_PROD, of a shape."""
    x, axes = take(inputs, {INT32}, {INT32})
    numbers = np.prod(
        numbers_of(x), axis=tuple(_axes(x, axes)), keepdims=options.keep_dims
    )
    return _integers(numbers)


def padding(inputs: Inputs, options: Any) -> Array:
    """PAD."""
    x, widths = take(inputs, {FLOAT, INT8}, {INT32})
    numbers = numbers_of(widths)
    if widths.shape != (x.rank, 2) or not 1 <= x.rank <= 4:
        refuse(f"widths {widths.shape} of an array {x.shape}")
    if numbers.min() < 0 or numbers.max() > MAX_PADDING:
        refuse(f"widths from {numbers.min()} to {numbers.max()}")
    added = numbers.sum(axis=1).tolist()
    return Array(tuple(map(sum, zip(x.shape, added, strict=True))), x.type)


def slicing(inputs: Inputs, options: Any) -> Array:
    """STRIDED_SLICE with steps of 1."""
    x, *limits = take(inputs, {FLOAT, INT32}, {INT32}, {INT32}, {INT32})
    if options.ellipsis or options.new_axis or options.offset:
        refuse("a slice with further dimensions")
    if any(limit.shape != (x.rank,) for limit in limits):
        refuse(f"limits of a slice of {x.shape}")
    begins, ends, steps = (numbers_of(limit).tolist() for limit in limits)
    if not 1 <= x.rank <= 4 or set(steps) != {1}:
        refuse(f"a slice of {x.shape} with steps {steps}")
    slices: list[slice | int] = []
    shape = []
    for axis, size in enumerate(x.shape):
        bit = 1 << axis
        begin = None if options.begin & bit else begins[axis]
        end = None if options.end & bit else ends[axis]
        if options.shrink & bit:
            if begin is None or not -size <= begin < size:
                refuse(f"the index {begin} of {size}")
            slices.append(begin)
            continue
        slices.append(slice(begin, end))
        shape.append(len(range(*slice(begin, end).indices(size))))
    if min(shape, default=1) < 1:
        refuse(f"an empty slice of {x.shape}")
    numbers = None if x.numbers is None else np.asarray(x.numbers[tuple(slices)])
    return Array(tuple(shape), x.type, numbers=numbers)


def shape_of(inputs: Inputs, options: Any) -> Array:
    """SHAPE."""
    (x,) = take(inputs, {FLOAT})
    if options.type != INT32:
        refuse(f"a shape of type {options.type}")
    return _integers(np.array(x.shape, np.int32))


def gathering(inputs: Inputs, options: Any) -> Array:
    """GATHER, of a shape."""
    x, indices = take(inputs, {INT32}, {INT32})
    numbers, chosen = numbers_of(x), numbers_of(indices)
    if x.rank != 1 or indices.rank > 1 or options.axis or options.batch_dims:
        refuse(f"indices {indices.shape} of an array {x.shape}")
    if not chosen.size or chosen.min() < 0 or chosen.max() >= x.shape[0]:
        refuse(f"indices outside of an array {x.shape}")
    return _integers(numbers[chosen])


def packing(inputs: Inputs, options: Any) -> Array:
    """PACK, of the sides of a shape."""
    sides = take(inputs, *[{INT32}] * len(inputs))
    if not sides or options.axis or options.count != len(sides):
        refuse(f"{len(sides)} arrays in place of {options.count}")
    if any(side.rank for side in sides):
        refuse("arrays in place of numbers")
    return _integers(np.array([numbers_of(side) for side in sides]))


def concatenation(inputs: Inputs, options: Any) -> Array:
    """CONCATENATION, of arrays or of shapes."""
    arrays = take(inputs, *[{FLOAT, INT32}] * len(inputs))
    if not arrays or len({array.type for array in arrays}) != 1 or options.activation:
        refuse("no arrays, arrays of several types, or an activation")
    first, axis = arrays[0], options.axis
    if not 1 <= first.rank <= 4 or not -first.rank <= axis < first.rank:
        refuse(f"the dimension {axis} of an array {first.shape}")
    axis %= first.rank
    rests = {(*a.shape[:axis], 0, *a.shape[axis + 1 :]) for a in arrays}
    if len(rests) != 1 or any(array.rank != first.rank for array in arrays):
        refuse("arrays of several shapes")
    if first.type == INT32:
        return _integers(np.concatenate([numbers_of(a) for a in arrays], axis))
    shape = list(first.shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    return Array(tuple(shape), first.type)


def numbers_of(array: Array) -> Integers:
    """The numbers of integers, which must be known."""
    if array.numbers is None:
        refuse(f"integers {array.shape} that are neither constant nor a shape")
    return array.numbers


def _integers(numbers: Any) -> Array:
    numbers = np.asarray(numbers)
    if numbers.size > MAX_INDICES:
        refuse(f"{numbers.size} integers")
    return Array(numbers.shape, INT32, numbers=numbers.astype(np.int32))


def _axes(x: Array, axes: Array) -> list[int]:
    """Dimensions of an array by their numbers, each once."""
    chosen = numbers_of(axes).ravel().tolist()
    if axes.rank > 1 or not all(-x.rank <= axis < x.rank for axis in chosen):
        refuse(f"the dimensions {chosen} of an array {x.shape}")
    positive = [axis % x.rank for axis in chosen]
    if not positive or len(set(positive)) != len(positive):
        refuse(f"the dimensions {chosen}")
    return positive


def _reduced(x: Array, axes: Array, keep_dims: bool) -> Shape:
    """The shape of an array without some dimensions."""
    if not 1 <= x.rank <= 4:
        refuse(f"an array {x.shape}")
    chosen = _axes(x, axes)
    sides = [1 if axis in chosen else side for axis, side in enumerate(x.shape)]
    if keep_dims:
        return tuple(sides)
    return tuple(side for axis, side in enumerate(x.shape) if axis not in chosen)
