"""The only place that builds and wires: from a configuration file to a running daemon."""
