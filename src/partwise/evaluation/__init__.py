"""Score files: one module a protocol, equal to its benchmark's own evaluator; no model."""
