"""The demonstration: synthetic ward, known users, and the main job done from the terminal."""
