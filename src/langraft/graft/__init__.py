"""Model surgery: experts, router, freezing; the methods."""
