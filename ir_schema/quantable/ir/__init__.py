"""The IR: graph, operations, quantization configs and states, invariants, editor, digest."""

from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.dtypes import DType
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
from quantable.ir.graph import (
    Decision,
    Dim,
    Graph,
    Level,
    MemoryPlan,
    Shape,
    StageRecord,
    Value,
)
from quantable.ir.hashing import graph_digest
from quantable.ir.invariants import INVARIANTS, verify
from quantable.ir.operation import Attribute, BakedParameter, Operation, QuantableOperation
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
from quantable.ir.states import TRANSITIONS, State

__all__ = [
    "INVARIANTS", "LEGAL_POLICIES", "TRANSITIONS", "Arithmetic", "Attribute", "BakedParameter",
    "ChannelMeans", "ContentRef", "ContentStore", "DType", "DataError", "Decision", "Dim",
    "FormatError", "Granularity",
    "Graph", "GraphEditor", "InternalError", "InvariantError", "Level", "MemoryPlan", "ModelError",
    "Operation", "OperationQuantizationConfig", "OptionError", "QuantableError",
    "QuantableOperation", "QuantizationParameters", "Profile", "QuantizationPolicy",
    "Relation", "Rounding",
    "Shape", "StageRecord", "State", "StateError", "Symmetry", "TensorQuantizationConfig",
    "UnknownNameError", "UnsupportedError", "UserError", "Value", "ValueStatistics", "Visibility",
    "channel_inputs", "graph_digest",
    "verify",
]  # fmt: skip
