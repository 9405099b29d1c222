"""Own CPU kernels: a model's steps in C++, for the architectures that they know."""


def kernel_set() -> str:
    """Return the instruction set that the kernels run with here. Raises ConfigError where they were not built."""
    from firesteel.backend.native.library import best_kernels

    return best_kernels()
