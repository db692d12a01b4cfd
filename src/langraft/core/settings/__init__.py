"""What a recipe can say: frozen pydantic models, one file a part of the recipe."""
