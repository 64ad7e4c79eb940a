"""Numbers in, numbers out: the compiled kernels of fasthop.

Only numba and numpy are imported here; nothing in this package knows of files, tables or the engine.
"""
