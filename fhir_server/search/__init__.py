"""Search as parse → plan → expression; pure, without I/O."""
