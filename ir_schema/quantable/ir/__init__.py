"""The IR: graph, operations, quantization configs and states, invariants, editor, digest."""

from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.dtypes import ONNX_NUMBERS, DType
from quantable.ir.editor import GraphEditor
from quantable.ir.errors import (
    DataError,
    FormatError,
    InternalError,
    InvariantError,
    ModelError,
    OptionError,
    QuantableError,
    StateError,
    UnknownNameError,
    UnsupportedError,
    UserError,
)
from quantable.ir.graph import Decision, Graph, Level, StageRecord
from quantable.ir.hashing import graph_digest
from quantable.ir.invariants import INVARIANTS, verify
from quantable.ir.memory_plan import MemoryPlan, Ring, Stream
from quantable.ir.operation import Attribute, BakedParameter, Operation, QuantableOperation
from quantable.ir.operation_library import NO_OPERATIONS, OperationLibrary
from quantable.ir.policies import (
    LEGAL_POLICIES,
    Arithmetic,
    Granularity,
    QuantizationPolicy,
    Rounding,
    Symmetry,
    Visibility,
)
from quantable.ir.profile import ChannelMeans, Profile, ValueStatistics, channel_inputs
from quantable.ir.quantization import (
    OperationQuantizationConfig,
    QuantizationParameters,
    Relation,
    TensorQuantizationConfig,
)
from quantable.ir.region import CAPTURES, Region
from quantable.ir.states import TRANSITIONS, State
from quantable.ir.values import Container, Dim, Shape, Value

__all__ = [
    "Arithmetic", "Attribute", "BakedParameter", "CAPTURES", "ChannelMeans", "Container",
    "ContentRef", "ContentStore", "DType", "DataError", "Decision", "Dim", "FormatError",
    "Granularity", "Graph", "GraphEditor", "INVARIANTS", "InternalError", "InvariantError",
    "LEGAL_POLICIES", "Level", "MemoryPlan", "ModelError", "NO_OPERATIONS", "ONNX_NUMBERS",
    "Operation", "OperationLibrary",
    "OperationQuantizationConfig", "OptionError", "Profile", "QuantableError",
    "QuantableOperation", "QuantizationParameters", "QuantizationPolicy", "Region", "Relation",
    "Ring", "Rounding", "Shape", "StageRecord", "State", "StateError", "Stream", "Symmetry",
    "TRANSITIONS", "TensorQuantizationConfig", "UnknownNameError", "UnsupportedError", "UserError",
    "Value", "ValueStatistics", "Visibility", "channel_inputs", "graph_digest", "verify",
]  # fmt: skip
