"""Visual token pruning for multimodal LLMs."""
