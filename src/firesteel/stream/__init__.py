"""Engine events in, wire bytes out. Nothing here touches a socket."""
