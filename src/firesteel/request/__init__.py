"""Wire JSON in, one frozen `Request` out; and its prompts turned into tokens."""
