"""A modelling file that travels with an exported folder; nothing in it needs langraft."""
