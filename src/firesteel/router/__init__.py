"""The router admits requests: a bounded queue, and a clear no beyond it."""
