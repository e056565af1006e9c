"""The binary formats: .qir files hold a graph, .qprof files hold calibration statistics."""

from quantable.schema.graph_file import load, save
from quantable.schema.profile_file import load_profile, save_profile

__all__ = ["load", "load_profile", "save", "save_profile"]
