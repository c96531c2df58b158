"""NeonBlue Lab: topics flow into a lake, a warehouse queries the lake, notebooks turn queries into artifacts,
pipelines run the notebooks, and an MCP server serves the artifacts.

The one object to start from is `neonblue_lab.Lab`.
"""

from typing import TYPE_CHECKING, Any

from neonblue_lab.settings import VERSION as __version__

if TYPE_CHECKING:
    from neonblue_lab.lab import Lab

__all__ = ["Lab", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Lab` on first use, so that `import neonblue_lab` stays free of heavy libraries."""
    if name == "Lab":
        from neonblue_lab.lab import Lab

        return Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
