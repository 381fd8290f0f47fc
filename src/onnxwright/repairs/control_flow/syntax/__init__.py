"""The syntax of a function, rewritten so that whatever decides in it is a call: `rewriting` is the way in."""
