"""Strategies: the contract, the built-in ones, and how a strategy of the user's is loaded. Pure, like the domain."""
