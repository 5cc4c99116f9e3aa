"""Pictures and their exact truth, rendered from a scene."""
