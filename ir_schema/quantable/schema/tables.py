"""The generated classes under one name: objects that `Pack` writes and `InitFromBuf` reads."""

from quantable.schema.generated.Attribute import AttributeT
from quantable.schema.generated.AttributeValue import AttributeValue
from quantable.schema.generated.BakedParameter import BakedParameterT
from quantable.schema.generated.Content import ContentT
from quantable.schema.generated.ContentAttribute import ContentAttributeT
from quantable.schema.generated.FloatAttribute import FloatAttributeT
from quantable.schema.generated.FloatsAttribute import FloatsAttributeT
from quantable.schema.generated.Graph import GraphT
from quantable.schema.generated.IntAttribute import IntAttributeT
from quantable.schema.generated.IntsAttribute import IntsAttributeT
from quantable.schema.generated.MemoryPlan import MemoryPlanT
from quantable.schema.generated.Metadata import MetadataT
from quantable.schema.generated.Offset import OffsetT
from quantable.schema.generated.Operation import OperationT
from quantable.schema.generated.Original import OriginalT
from quantable.schema.generated.Parameter import ParameterT
from quantable.schema.generated.Profile import ProfileT
from quantable.schema.generated.Quantization import QuantizationT
from quantable.schema.generated.QuantizationParameters import QuantizationParametersT
from quantable.schema.generated.Scheme import SchemeT
from quantable.schema.generated.Segment import SegmentT
from quantable.schema.generated.StageRecord import StageRecordT
from quantable.schema.generated.StringAttribute import StringAttributeT
from quantable.schema.generated.StringsAttribute import StringsAttributeT
from quantable.schema.generated.TensorQuantizationConfig import TensorQuantizationConfigT
from quantable.schema.generated.TensorType import TensorTypeT
from quantable.schema.generated.Value import ValueT
from quantable.schema.generated.ValueStatistics import ValueStatisticsT

__all__ = [
    "AttributeT",
    "AttributeValue",
    "BakedParameterT",
    "ContentAttributeT",
    "ContentT",
    "FloatAttributeT",
    "FloatsAttributeT",
    "GraphT",
    "IntAttributeT",
    "IntsAttributeT",
    "MemoryPlanT",
    "MetadataT",
    "OffsetT",
    "OperationT",
    "OriginalT",
    "ParameterT",
    "ProfileT",
    "QuantizationParametersT",
    "QuantizationT",
    "SchemeT",
    "SegmentT",
    "StageRecordT",
    "StringAttributeT",
    "StringsAttributeT",
    "TensorQuantizationConfigT",
    "TensorTypeT",
    "ValueStatisticsT",
    "ValueT",
]
