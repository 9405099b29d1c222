"""Own CPU kernels: a model's steps in C++, for the architectures that they know."""
