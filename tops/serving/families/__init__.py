"""Families inside vLLM, a file each. They import vLLM, so nothing but vLLM imports them."""
