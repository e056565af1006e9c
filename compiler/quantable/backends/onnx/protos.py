"""ONNX's names for our types, and protos built from IR objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
from quantable.ir import Attribute, Container, ContentRef, ContentStore, DType, Operation, Value


@dataclass(frozen=True, slots=True)
class ElementType:
    """An element type of ONNX: its number in TensorProto and its word in schemas."""

    code: int
    word: str


ELEMENT_TYPES: dict[DType, ElementType] = {
    DType.FLOAT16: ElementType(onnx.TensorProto.FLOAT16, "float16"),
    DType.BFLOAT16: ElementType(onnx.TensorProto.BFLOAT16, "bfloat16"),
    DType.FLOAT32: ElementType(onnx.TensorProto.FLOAT, "float"),
    DType.FLOAT64: ElementType(onnx.TensorProto.DOUBLE, "double"),
    DType.FLOAT8E4M3FN: ElementType(onnx.TensorProto.FLOAT8E4M3FN, "float8e4m3fn"),
    DType.FLOAT8E5M2: ElementType(onnx.TensorProto.FLOAT8E5M2, "float8e5m2"),
    DType.FLOAT4E2M1: ElementType(onnx.TensorProto.FLOAT4E2M1, "float4e2m1"),
    DType.FLOAT8E4M3FNUZ: ElementType(onnx.TensorProto.FLOAT8E4M3FNUZ, "float8e4m3fnuz"),
    DType.FLOAT8E5M2FNUZ: ElementType(onnx.TensorProto.FLOAT8E5M2FNUZ, "float8e5m2fnuz"),
    DType.FLOAT8E8M0: ElementType(onnx.TensorProto.FLOAT8E8M0, "float8e8m0"),
    DType.INT2: ElementType(onnx.TensorProto.INT2, "int2"),
    DType.UINT2: ElementType(onnx.TensorProto.UINT2, "uint2"),
    DType.INT4: ElementType(onnx.TensorProto.INT4, "int4"),
    DType.UINT4: ElementType(onnx.TensorProto.UINT4, "uint4"),
    DType.INT8: ElementType(onnx.TensorProto.INT8, "int8"),
    DType.UINT8: ElementType(onnx.TensorProto.UINT8, "uint8"),
    DType.INT16: ElementType(onnx.TensorProto.INT16, "int16"),
    DType.UINT16: ElementType(onnx.TensorProto.UINT16, "uint16"),
    DType.INT32: ElementType(onnx.TensorProto.INT32, "int32"),
    DType.UINT32: ElementType(onnx.TensorProto.UINT32, "uint32"),
    DType.INT64: ElementType(onnx.TensorProto.INT64, "int64"),
    DType.UINT64: ElementType(onnx.TensorProto.UINT64, "uint64"),
    DType.BOOL: ElementType(onnx.TensorProto.BOOL, "bool"),
    DType.STRING: ElementType(onnx.TensorProto.STRING, "string"),
}


def kind_and_domain(kind: str) -> tuple[str, str]:
    """Split an operation kind: ``com.microsoft.Gelu`` is ``Gelu`` of ``com.microsoft``."""
    domain, _, name = kind.rpartition(".")
    return name, domain


def value_info(value: Value) -> onnx.ValueInfoProto:
    """Return the proto of a value; dimensions that nothing is known of are left open."""
    shape = None
    if value.shape is not None:
        shape = [None if str(dim).startswith("?") else dim for dim in value.shape]
    kind = onnx.helper.make_tensor_type_proto(ELEMENT_TYPES[value.dtype].code, shape)
    if value.container in (Container.SEQUENCE, Container.OPTIONAL_SEQUENCE):
        kind = onnx.helper.make_sequence_type_proto(kind)
    if value.container in (Container.OPTIONAL, Container.OPTIONAL_SEQUENCE):
        kind = onnx.helper.make_optional_type_proto(kind)
    return onnx.helper.make_value_info(value.name, kind)


def type_word(value: Value) -> str:
    """Return a value's type as schemas spell it."""
    word = f"tensor({ELEMENT_TYPES[value.dtype].word})"
    if value.container in (Container.SEQUENCE, Container.OPTIONAL_SEQUENCE):
        word = f"seq({word})"
    if value.container in (Container.OPTIONAL, Container.OPTIONAL_SEQUENCE):
        word = f"optional({word})"
    return word


def tensor(name: str, ref: ContentRef, store: ContentStore) -> onnx.TensorProto:
    """Return the proto of a content, its stored bytes inside (2 and 4-bit types packed alike)."""
    proto = onnx.TensorProto(name=name, data_type=ELEMENT_TYPES[ref.dtype].code, dims=ref.shape)
    proto.raw_data = bytes(store.raw(ref.digest))
    return proto


def node(operation: Operation, opset: int, store: ContentStore) -> onnx.NodeProto:
    """Return the proto of an operation that is in the form of `opset` already."""
    kind, domain = kind_and_domain(operation.kind)
    proto = onnx.NodeProto(name=operation.name, op_type=kind, domain=domain)
    proto.input.extend(operation.inputs)
    proto.output.extend(operation.outputs)
    proto.attribute.extend(attribute_protos(operation.attributes, operation.kind, opset, store))
    return proto


def attribute_protos(
    attributes: Mapping[str, Attribute], operation_kind: str, opset: int, store: ContentStore
) -> Iterable[onnx.AttributeProto]:
    """Yield the protos of attributes that are no regions."""
    kind, domain = kind_and_domain(operation_kind)
    known = {} if domain else onnx.defs.get_schema(kind, opset).attributes
    for name, value in attributes.items():
        if isinstance(value, ContentRef):
            yield onnx.helper.make_attribute(name, tensor("", value, store))
        elif name in known:  # the schema tells 1 from 1.0, and what an empty list holds
            code = int(known[name].type.value)
            is_real = code == onnx.AttributeProto.FLOAT and not isinstance(value, (tuple, str))
            real = float(value) if is_real else value  # type: ignore[arg-type] # a number
            yield onnx.helper.make_attribute(name, real, attr_type=code)
        else:
            yield onnx.helper.make_attribute(name, value)
