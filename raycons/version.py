"""The version of raycons; the one place that names it, besides the package's metadata."""

__version__ = "0.1.0"
