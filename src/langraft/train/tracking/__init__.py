"""What a stage tells trackers such as Weights & Biases, and what may go wrong with them."""
