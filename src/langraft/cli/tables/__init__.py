"""The tables and drawings that verbs print."""
