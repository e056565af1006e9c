"""Types and shapes of operations that the onnx package does not know, for its own inference.

onnx infers a whole model in one walk. What an operation of another domain makes, our shape function
says: it is registered as the inference of a schema while the walk lasts, and taken back afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
from onnx import AttributeProto, numpy_helper
from onnx.defs import OpSchema

from quantable.frontend.tensors import DTYPES
from quantable.ir import ContentStore, Operation, OperationLibrary
from quantable.ir.operation import Attribute
from quantable.ir.standard_operations import StandardOperation, microsoft_operations
from quantable.passes.canonicalize.shapes.inference import shape_function
from quantable.passes.canonicalize.shapes.site import (
    MOST_ELEMENTS,
    NotInferable,
    ShapeFunction,
    Site,
    Tensor,
    as_elements,
)
from quantable.passes.canonicalize.shapes.symbols import Expression

_LOCK = threading.Lock()
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_UNKNOWN = "?"


@contextmanager
def foreign_types(library: OperationLibrary) -> Iterator[None]:
    """Let onnx infer what operations of other domains make, as long as the context lasts.

    Args:
        library: The user operations at hand.
    """
    with _LOCK:
        registered: list[OpSchema] = []
        try:
            rows = [held.definition.row for held in library.values()]
            for row in (*microsoft_operations().values(), *rows):
                schema = _schema(row, shape_function(row.kind, library))
                if not row.left_out and not onnx.defs.has(schema.name, schema.domain):
                    onnx.defs.register_schema(schema)
                    registered.append(schema)
            yield
        finally:
            for schema in registered:
                onnx.defs.deregister_schema(schema.name, schema.since_version, schema.domain)


def _schema(row: StandardOperation, function: ShapeFunction | None) -> OpSchema:
    """Return a schema with an inference; it takes anything: nothing is checked with it."""
    domain, _, name = row.kind.rpartition(".")
    variadic = OpSchema.FormalParameterOption.Variadic

    def any_number(name: str) -> OpSchema.FormalParameter:
        return OpSchema.FormalParameter(
            name, "T", param_option=variadic, is_homogeneous=False, min_arity=0
        )

    schema = OpSchema(
        name, domain, row.versions[0], inputs=[any_number("inputs")],
        outputs=[any_number("outputs")], type_constraints=[("T", ["tensor(float)"], "")],
    )  # fmt: skip
    schema.set_type_and_shape_inference_function(lambda context: _infer(row, function, context))
    return schema


def _infer(
    row: StandardOperation,
    function: ShapeFunction | None,
    context: onnx.shape_inference.InferenceContext,
) -> None:
    site = None if function is None else _site(row, context)
    if function is None or site is None:
        return
    try:
        made = function(site)
    except NotInferable:
        return
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise site.error("operands of these ranks cannot be taken") from error
    for slot, tensor in enumerate(made[: context.get_num_outputs()]):
        context.set_output_type(slot, _type(tensor))


def _site(row: StandardOperation, context: onnx.shape_inference.InferenceContext) -> Site | None:
    """Return what is known of a node, None where that is too little to say anything of it."""
    count = context.get_num_inputs()
    is_there = [context.has_input(slot) for slot in range(count)]
    operation = Operation(
        context.get_display_name(), row.kind,
        tuple(f"i{slot}" if there else "" for slot, there in enumerate(is_there)),
        tuple(f"o{slot}" for slot in range(context.get_num_outputs())), _attributes(row, context),
    )  # fmt: skip
    store = ContentStore()
    inputs: list[Tensor | None] = []
    for slot, there in enumerate(is_there):
        found = _tensor(context, slot) if there else None
        if there and found is None:
            return None
        inputs.append(found)
    return Site(operation, tuple(inputs), {}, store)


def _attributes(
    row: StandardOperation, context: onnx.shape_inference.InferenceContext
) -> dict[str, Attribute]:
    """Return the numbers and texts among a node's attributes: no shape depends on others."""
    kinds = {AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING, AttributeProto.INTS}
    given = ((name, context.get_attribute(name)) for name in row.attributes)
    found: dict[str, Attribute] = {}
    for name, proto in given:
        if proto is not None and proto.type in kinds:
            value = onnx.helper.get_attribute_value(proto)
            found[name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return found


def _tensor(context: onnx.shape_inference.InferenceContext, slot: int) -> Tensor | None:
    kind = context.get_input_type(slot)
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dtype = DTYPES.get(kind.tensor_type.elem_type)
    if dtype is None:
        return None
    dims = enumerate(kind.tensor_type.shape.dim)
    sizes = tuple(_size(dim, f"{_UNKNOWN}i{slot}.{axis}") for axis, dim in dims)
    data = context.get_input_data(slot)
    elements = None
    if data is not None and dtype.is_integer:
        array = numpy_helper.to_array(data)
        elements = as_elements(array) if array.size <= MOST_ELEMENTS else None
    return Tensor(dtype, sizes, elements)


def _size(dim: onnx.TensorShapeProto.Dimension, unknown: str) -> Expression:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return Expression.of(int(dim.dim_value))
    return Expression.of(str(dim.dim_param) or unknown)


def _type(tensor: Tensor) -> onnx.TypeProto:
    """Return a type; a dimension that depends on one of which nothing is known is left open."""
    kind = onnx.TypeProto()
    kind.tensor_type.elem_type = _CODES[tensor.dtype]
    kind.tensor_type.shape.SetInParent()
    for size in tensor.sizes:
        dim = kind.tensor_type.shape.dim.add()
        if size.constant is not None:
            dim.dim_value = size.constant
        elif _UNKNOWN not in str(size.dim):
            dim.dim_param = str(size.dim)
    return kind
