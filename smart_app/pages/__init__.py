"""One module per page: thin functions that read, hand to a presenter, and render a template."""
