"""Holistic, Instance-level Human Parsing (Li, Arnab and Torr, BMVC 2017)."""
