"""The production store: MongoDB by a documented subset, one database for each tenant."""
