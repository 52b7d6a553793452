"""Who may do what: principals, scopes, access and the guard at the storage port."""
