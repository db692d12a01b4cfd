"""What must be known of a pretrained architecture: where its FFNs are, its standard MoE twin."""
