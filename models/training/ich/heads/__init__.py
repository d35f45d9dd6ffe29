"""Heads with known blood: rendered from nothing (phantom/), or painted into a real scan (paint.py, room.py). heads.py holds out
those that measure; calcified.py makes heads without blood that have large calcifications."""
