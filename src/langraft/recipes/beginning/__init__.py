"""``langraft init``: look at a base and at text, and write a recipe that runs."""
