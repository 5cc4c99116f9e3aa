"""Decode and encode pictures, label maps and video. Every file is written to a temporary name and renamed."""
