"""What is said on the wire: structs of requests and responses, and the parsers that both directions share."""
