"""The watch over models in use: drift at each site, and the hold of a site's AI reading."""
