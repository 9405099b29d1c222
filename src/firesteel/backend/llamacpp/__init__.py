"""libllama through the low-level functions of llama-cpp-python; the token loop is ours."""
