"""How good a recogniser is: word errors, how sure they are, and the entropy of its logits."""
