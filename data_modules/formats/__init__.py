"""Formats that several datasets share."""
