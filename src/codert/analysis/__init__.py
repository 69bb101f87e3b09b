"""What is in a recogniser's logits: entropies, confusions, agreement; measured on speech."""
