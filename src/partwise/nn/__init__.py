"""Blocks with parameters, shared by the papers."""
