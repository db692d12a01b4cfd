"""A grafted model to a standard Hugging Face folder, proved equal."""
