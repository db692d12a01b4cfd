"""Requests to a teacher: each made once, its answer saved at once, within the rate limit."""
