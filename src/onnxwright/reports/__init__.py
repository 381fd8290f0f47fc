"""What is known, in forms that other tools and people read."""
