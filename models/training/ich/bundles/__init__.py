"""Bundles: export of our networks, checks of a network that a user brings, int8, the model card, and training on from a bundle."""
