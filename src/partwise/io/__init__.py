"""Files of every kind: pictures, label maps, video, flow, rows of text. What is written appears whole or not at all."""
