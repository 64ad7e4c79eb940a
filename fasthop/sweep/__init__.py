"""The engine of a sweep: spec → plan → run, chunk by chunk → store → read. It knows experiments by interface alone."""
