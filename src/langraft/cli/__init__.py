"""The command line; a file for each group of verbs, and the tables that they print."""
