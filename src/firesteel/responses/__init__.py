"""Responses as conversations: what came before, what runs, what was steered in, and what is kept of it."""
