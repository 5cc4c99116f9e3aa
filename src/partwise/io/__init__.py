"""Files of every kind: pictures, label maps, video, flow, rows of text. Files are written whole or not at all."""
