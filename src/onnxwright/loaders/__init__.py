"""How each kind of source becomes a `Source`, one kind a file."""
