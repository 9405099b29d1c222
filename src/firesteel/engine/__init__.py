"""The engine: one loop steps all live sequences. schedule → draft → verify → accept → watch → emit."""
