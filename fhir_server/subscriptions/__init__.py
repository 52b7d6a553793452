"""R4 Subscription: criteria, notification of matches, delivery by rest-hook."""
