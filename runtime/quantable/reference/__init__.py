"""The torch reference runtime: executes every level of the IR and defines its results."""

from quantable.reference.executor import FloatExecutor, run_operation
from quantable.reference.observe import observe
from quantable.reference.runtime import Hook, ReferenceRuntime
from quantable.reference.threads import one_thread

__all__ = ["FloatExecutor", "Hook", "ReferenceRuntime", "observe", "one_thread", "run_operation"]
