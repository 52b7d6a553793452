"""The proof that the guard leaks nothing: random wards, callers and requests, answered by a guarded
store and by one that really lacks what is hidden."""
