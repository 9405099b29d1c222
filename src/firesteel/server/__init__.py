"""HTTP: routes, authentication, metrics, and the life of the server process."""
