"""What a conversation has left behind: the exact tokens of its text."""
