"""The binary formats: .qir files hold a graph, .qprof files hold calibration statistics."""

from quantable.schema.graph_file import load, save
from quantable.schema.profile_file import load_profile, save_profile
from quantable.schema.rewriting import rewrite, version_of
from quantable.schema.versions import FormatUpgradeWarning

__all__ = [
    "FormatUpgradeWarning",
    "load",
    "load_profile",
    "rewrite",
    "save",
    "save_profile",
    "version_of",
]
