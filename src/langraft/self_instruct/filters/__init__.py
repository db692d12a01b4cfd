"""What is dropped of the tasks that a teacher wrote."""
