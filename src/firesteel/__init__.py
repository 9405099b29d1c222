"""Firesteel: a latency-first coding engine. ARCHITECTURE.md maps the code."""

__version__ = "0.1.0"
