"""Real human speech: the voices of the adventure game Flight of the Amazon Queen (1995)."""
