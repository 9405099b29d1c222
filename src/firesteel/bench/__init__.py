"""Measure our server, and a stock llama.cpp server beside it: both as processes, both over HTTP."""
