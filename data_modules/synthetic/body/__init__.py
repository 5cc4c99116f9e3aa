"""The bodies that are rendered: bones, clothes and motion."""
