"""Guessing what comes next, so that one step can verify several tokens."""
