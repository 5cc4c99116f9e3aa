"""Readers of native layouts: files to samples."""
