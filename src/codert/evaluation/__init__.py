"""How good a recogniser is: word errors, how sure they are, and what it takes."""
