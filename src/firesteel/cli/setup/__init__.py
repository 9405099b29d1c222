"""`firesteel setup`: configuration that points a client at this server."""
