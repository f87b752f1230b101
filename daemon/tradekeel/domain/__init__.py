"""The trade's own nouns and rules: pure and synchronous, with time and ids as arguments."""
