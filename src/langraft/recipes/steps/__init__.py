"""What the steps of a run do, and what each depends on; the pipeline says when."""
