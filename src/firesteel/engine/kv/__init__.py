"""Accounting for KV: cells of the context (leased by live sequences), host memory (idle sequences)."""
