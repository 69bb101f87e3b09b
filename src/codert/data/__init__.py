"""From recordings and their texts to batches of features and labels."""
